/** The images to work on: chosen or dropped, sent to the server, listed. */

import { get, remove, upload } from "./api.js";

const $ = (id) => document.getElementById(id);
const SHOWN = /\.(png|jpe?g|webp|gif|avif|bmp)$/i; // browsers show these themselves
const THUMBNAILS = 60;
const AT_ONCE = 4;

/** What the server has, by name: several are sent at a time, and arrive in any order. */
export const uploads = [];

/** Whether a file, or a folder that it is in, is hidden: `.DS_Store` is nothing that a user chose. */
export const isHidden = (name) => name.split("/").some((part) => part.startsWith("."));

let waiting = 0; // files
let adding = 0; // calls of `add`
let listed = null; // a promise: what the server had before is in the list
let sending = Promise.resolve(); // all that was chosen so far is sent or refused

/** Wait until all that was chosen is sent or refused. */
export async function allSent() {
  for (let last = null; last !== sending; ) {
    last = sending;
    await last;
  }
}

function say() {
  const count = uploads.length;
  const parts = waiting ? [`Sending: ${waiting} left.`] : [];
  if (count) parts.push(`${count.toLocaleString("en")} ${count === 1 ? "image" : "images"}.`);
  $("upload-status").textContent = parts.join(" ");
  $("remove-all").hidden = count < 2;
  dispatchEvent(new Event("uploads"));
}

function refuse(text) {
  const item = document.createElement("li");
  item.textContent = text;
  $("refused").append(item);
}

function show(one, file) {
  const after = uploads.findIndex((other) => other.name > one.name), at = after < 0 ? uploads.length : after;
  uploads.splice(at, 0, one);
  const item = document.createElement("li");
  item.title = one.name;
  if (one.width !== null && uploads.length <= THUMBNAILS) {
    const image = document.createElement("img");
    image.alt = "";
    image.loading = "lazy";
    image.src = file && SHOWN.test(one.name) ? URL.createObjectURL(file) : `/api/uploads/${one.id}/image`;
    item.append(image);
  }
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "×";
  button.setAttribute("aria-label", `Remove ${one.name}`);
  button.addEventListener("click", () => drop(one, item));
  const name = document.createElement("span");
  name.textContent = one.name.split("/").pop();
  item.append(button, name);
  $("uploads").insertBefore(item, $("uploads").children[at] ?? null);
}

async function drop(one, item) {
  const index = uploads.indexOf(one);
  if (index < 0) return;
  uploads.splice(index, 1);
  const next = item.nextElementSibling ?? item.previousElementSibling;
  item.remove();
  (next?.querySelector("button") ?? $("files")).focus();
  say();
  await remove(`/api/uploads/${one.id}`).catch(() => {});
}

/** Send files; `entries` are pairs of a file and its relative name, or a promise of them. */
function add(entries) {
  if (adding === 0) $("refused").replaceChildren(); // lines of what is still being sent stay
  sending = Promise.all([sending, sent(entries)]);
}

async function sent(entries) {
  adding += 1;
  try {
    await send(await entries);
  } catch (error) {
    refuse(error.message);
  }
  adding -= 1;
}

async function send(entries) {
  const rest = entries.filter(([, name]) => !isHidden(name));
  waiting += rest.length;
  say();
  await listed.catch(() => {});
  const work = async () => {
    for (let next = rest.shift(); next; next = rest.shift()) {
      const [file, name] = next;
      try {
        show(await upload(file, name, "input"), file);
      } catch (error) {
        refuse(error.message);
      }
      waiting -= 1;
      say();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

/** Files of a dropped entry, with their relative names; what cannot be read is a line. */
async function filesOf(entry) {
  const found = [], name = entry.fullPath.replace(/^\//, "");
  if (isHidden(name)) return found;
  try {
    if (entry.isFile) return [[await new Promise((resolve, reject) => entry.file(resolve, reject)), name]];
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return found;
      for (const one of some) found.push(...(await filesOf(one)));
    }
  } catch (error) {
    refuse(`${name}: this cannot be read (${error.name}).`);
    return found;
  }
}

async function listUploads() {
  for (const one of (await get("/api/uploads")).uploads) if (one.purpose === "input") show(one);
}

export async function startUploads() {
  listed = listUploads();
  for (const id of ["files", "folder"]) {
    const input = $(id);
    const take = () => {
      if (input.files.length) add([...input.files].map((file) => [file, file.webkitRelativePath || file.name]));
      input.value = "";
    };
    input.addEventListener("change", take);
    take(); // what was chosen before this script was there
  }
  addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
  addEventListener("dragleave", () => $("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files].map((file) => [file, file.name]);
    add(entries.length ? Promise.all(entries.map(filesOf)).then((found) => found.flat()) : files);
  });
  $("remove-all").addEventListener("click", async () => {
    const all = uploads.splice(0);
    $("uploads").replaceChildren();
    say();
    $("files").focus();
    for (const one of all) await remove(`/api/uploads/${one.id}`).catch(() => {});
  });
  await listed;
  say();
}
