/** The page: files in, images out. The work is done in worker.ts. */

import type { Facts, Reply } from "./messages.js";

const element = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;
const drop = element("drop");
const input = element<HTMLInputElement>("file");
const status = element("status");
const progress = element<HTMLProgressElement>("progress");
const list = element("list");
const result = element("result");
const frame = element("frame");
const canvas = element<HTMLCanvasElement>("canvas");
const zoom = element<HTMLButtonElement>("zoom");
const save = element<HTMLAnchorElement>("save");

interface Shown {
  readonly name: string;
  readonly bytes: number;
  readonly button: HTMLButtonElement;
  bitmap?: ImageBitmap;
  facts?: Facts;
  problem?: string;
}

const shown: Shown[] = [];
let current = -1;
let waiting = 0;

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
let received = Promise.resolve(); // one after the other, though bitmaps take their time
worker.onmessage = ({ data }: MessageEvent<Reply>) => {
  received = received.then(() => receive(data));
};
worker.onerror = () => say("This browser cannot run the decoder.", true);

async function add(files: Iterable<File>): Promise<void> {
  for (const file of files) {
    const number = shown.length;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = file.name;
    button.addEventListener("click", () => show(number));
    list.append(button);
    shown.push({ name: file.name, bytes: file.size, button });
    list.hidden = shown.length < 2;
    waiting += 1;
    say(`Decoding ${file.name} …`);
    const data = new Uint8Array(await file.arrayBuffer());
    worker.postMessage({ number, data }, [data.buffer]);
  }
}

async function receive(reply: Reply): Promise<void> {
  const item = shown[reply.number];
  if (reply.kind === "progress") {
    progress.hidden = false;
    progress.value = reply.share;
    return;
  }
  waiting -= 1;
  progress.hidden = true;
  if (reply.kind === "error") {
    item.problem = `${item.name}: ${reply.message}`;
  } else {
    item.facts = reply.facts;
    try {
      item.bitmap =
        reply.kind === "image"
          ? await createImageBitmap(new ImageData(reply.rgba, reply.facts.width, reply.facts.height))
          : await createImageBitmap(new Blob([reply.source]));
    } catch {
      item.problem = `${item.name}: it holds a source file of a kind that this browser does not show.`;
    }
  }
  show(reply.number);
}

function show(number: number): void {
  const item = shown[number];
  current = number;
  for (const other of shown) other.button.setAttribute("aria-current", String(other === item));
  result.hidden = item.bitmap === undefined;
  if (item.problem !== undefined) {
    say(item.problem, true);
    return;
  }
  if (item.bitmap === undefined || item.facts === undefined) return;
  say(waiting > 0 ? `${waiting} more to decode …` : `Decoded in ${item.facts.seconds.toFixed(1)} s.`);
  canvas.width = item.bitmap.width;
  canvas.height = item.bitmap.height;
  canvas.getContext("2d")?.drawImage(item.bitmap, 0, 0);
  element("name").textContent = item.name;
  frame.setAttribute("aria-label", `${item.name}, ${item.bitmap.width} × ${item.bitmap.height} pixels`);
  listFacts(item.facts, item.bytes);
  canvas.toBlob((blob) => {
    if (blob === null || current !== number) return;
    URL.revokeObjectURL(save.href);
    save.href = URL.createObjectURL(blob);
    save.download = item.name.replace(/(\.\w+)?\.vae$/i, "") + ".png";
  });
}

function listFacts(facts: Facts, bytes: number): void {
  const pixels = facts.width * facts.height;
  const kind = `${facts.grey ? "grey" : "colour"}${facts.alpha ? " with alpha" : ""}, ${facts.depth} bits per sample`;
  const rows: [string, string][] = [
    ["Size", `${facts.width} × ${facts.height} pixels, ${kind}`],
    ["File", `${bytes.toLocaleString("en")} bytes, ${((8 * bytes) / pixels).toFixed(3)} bits per pixel`],
    ["Model", facts.level === null ? "none: the source file is stored" : `${facts.model}, quality ${facts.level}`],
  ];
  element("facts").replaceChildren(
    ...rows.flatMap(([term, text]) => {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      dt.textContent = term;
      dd.textContent = text;
      return [dt, dd];
    }),
  );
}

function say(text: string, wrong = false): void {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

function take(): void {
  void add([...(input.files ?? [])]); // a copy: the next line empties the list
  input.value = "";
}
input.addEventListener("change", take);
take(); // what was chosen before this script was there
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", () => drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  void add([...(event.dataTransfer?.files ?? [])]);
});
zoom.addEventListener("click", () => {
  const actual = frame.classList.toggle("actual");
  zoom.setAttribute("aria-pressed", String(actual));
});

/** `view.html?file=…` shows files that the same server offers. */
async function fromAddress(): Promise<void> {
  for (const path of new URLSearchParams(location.search).getAll("file")) {
    const address = new URL(path, location.href);
    const name = decodeURIComponent(address.pathname.split("/").at(-1) ?? path);
    if (address.origin !== location.origin) {
      say(`${name}: only files of this server are shown.`, true);
      continue;
    }
    const response = await fetch(address);
    if (!response.ok) say(`${name}: the server does not have it.`, true);
    else await add([new File([await response.blob()], name)]);
  }
}
void fromAddress();
