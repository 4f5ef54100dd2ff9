/** The form of the chosen operation, as a request. */

import { post, remove, upload } from "./api.js";
import { drawMasks, drawnMasks } from "./mask.js";
import { allSent, isHidden, uploads } from "./uploads.js";

const $ = (id) => document.getElementById(id);

const chosen = () => document.querySelector(`fieldset[data-op="${CSS.escape($("operation").value)}"]`);

function choose() {
  for (const fields of document.querySelectorAll("fieldset[data-op]")) fields.hidden = fields.disabled = true;
  const fields = chosen();
  fields.hidden = fields.disabled = false;
  $("form-problem").textContent = "";
}

/** Whether a field holds what the page was loaded with. */
function isInitial(input) {
  if (input.type === "checkbox") return input.checked === input.defaultChecked;
  if (input.localName === "select") return input.selectedOptions[0].defaultSelected;
  return input.value === input.defaultValue && !input.validity.badInput;
}

/** The value of a field that was cleared: None, or else the default. */
const cleared = (field) => ("optional" in field.dataset ? null : undefined);

/** The value of an option; undefined to leave it out. The ids of files that are uploaded are added to `sent`. */
async function valueOf(field, sent) {
  const kind = field.dataset.kind, input = field.querySelector("input:not([type=file]), select");
  if (kind === "files") return filesOf(field, sent);
  if (isInitial(input)) return undefined;
  if (kind === "check") return input.checked;
  const text = input.value.trim();
  if (text === "") {
    if (input.validity?.badInput) throw new Error(`${field.dataset.name}: this is not a number.`);
    return cleared(field);
  }
  if (kind === "truth") return text === "true";
  if (kind === "number" || kind === "whole") return Number(text);
  return kind === "numbers" ? text.split(",").map(Number) : text;
}

/** Upload files of an option, pairs of a file and its name; gives their ids. */
async function send(entries, sent) {
  const ids = [];
  for (const [file, name] of entries) {
    const { id } = await upload(file, name, "option");
    sent.push(id);
    ids.push(id);
  }
  return ids;
}

/** Upload a folder of an option under the names that its files have in it; what is of no use there is left out. */
async function sendFolder(files, key, sent) {
  const ids = [];
  for (const file of files) {
    const name = file.webkitRelativePath.split("/").slice(1).join("/");
    if (isHidden(name)) continue;
    try {
      ids.push(...(await send([[file, name]], sent)));
    } catch (error) {
      if (error.code !== "E010") throw error;
    }
  }
  if (ids.length === 0) throw new Error(`${key}: the folder has no files that can be used.`);
  return { uploads: ids, folder: true };
}

async function filesOf(field, sent) {
  const files = [...field.querySelector(".files").files], key = field.dataset.name;
  if (files.length) {
    const ids = await send(files.map((file) => [file, file.name]), sent);
    return files.length > 1 ? { uploads: ids, folder: true } : { uploads: ids };
  }
  const folder = field.querySelector(".folder")?.files ?? [];
  if (folder.length) return sendFolder(folder, key, sent);
  const masks = field.querySelector(".draw") ? await drawnMasks(key) : [];
  if (masks.length) {
    const ids = await send(masks.map(({ blob }) => [blob, "mask.png"]), sent);
    return { uploads: ids, inputs: masks.map(({ id }) => id), folder: true };
  }
  const words = field.querySelector(".words");
  if (words === null || isInitial(words)) return undefined;
  const text = words.value.trim();
  if (text === "") return cleared(field);
  return Number.isNaN(Number(text)) ? text : Number(text);
}

async function request(sent) {
  const fields = chosen(), body = { uploads: [], options: {}, output: {} };
  if (fields.dataset.takes !== "nothing") body.uploads = uploads.map((one) => one.id);
  if (fields.dataset.takes !== "nothing" && uploads.length === 0) throw new Error("Choose images first.");
  for (const field of fields.querySelectorAll(".field[data-name]")) {
    const value = await valueOf(field, sent);
    if (value !== undefined) body.options[field.dataset.name] = value;
  }
  const model = fields.querySelector(".field[data-model] select");
  if (model) body.model = model.value;
  for (const field of fields.querySelectorAll(".field[data-output]")) {
    const value = field.querySelector("input, select").value.trim();
    if (value !== "") body.output[field.dataset.output] = field.dataset.output === "quality_out" ? Number(value) : value;
  }
  return body;
}

/** `started` is called with each run that the form starts. */
export function startForm(started) {
  $("operation").addEventListener("change", choose);
  choose();
  for (const field of document.querySelectorAll("[data-kind=files]")) {
    const inputs = field.querySelectorAll("input[type=file]");
    const clearOthers = (event) => { for (const one of inputs) if (one !== event.target) one.value = ""; };
    field.addEventListener("change", (event) => event.target.type === "file" && clearOthers(event));
  }
  for (const button of document.querySelectorAll(".draw")) {
    const field = button.closest(".field");
    button.addEventListener("click", async () => {
      const count = await drawMasks(field.dataset.name);
      field.querySelector(".drawn").textContent = count ? `${count} drawn` : "";
      button.focus();
    });
  }
  $("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("run").disabled = true;
    $("form-problem").textContent = "";
    const sent = [];
    await allSent();
    try {
      started(await post(`/api/operations/${$("operation").value}`, await request(sent)));
    } catch (error) {
      $("form-problem").textContent = error.message;
    }
    for (const id of sent) await remove(`/api/uploads/${id}`).catch(() => {}); // a run has links of its own
    $("run").disabled = false;
  });
}
