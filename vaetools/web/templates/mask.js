/** Masks that are drawn on the images: lines of a brush, kept for each image and each option. */

import { uploads } from "./uploads.js";

const $ = (id) => document.getElementById(id);
const dialog = $("mask"), canvas = $("m-canvas"), photo = $("m-photo");

/** Option -> id of an upload -> lines: { size, erase, points } in pixels of the image. */
const drawings = new Map();

let lines = [], line = null, image = null, erasing = false;
let finger = null; // id of the pointer that draws; others, such as a palm, do nothing
let brush = [0, 0], byKey = false; // of the keyboard

const linesOf = (option, id) => {
  if (!drawings.has(option)) drawings.set(option, new Map());
  const ofOption = drawings.get(option);
  if (!ofOption.has(id)) ofOption.set(id, []);
  return ofOption.get(id);
};

function paint(target, all, scale, colour) {
  const context = target.getContext("2d");
  context.lineCap = context.lineJoin = "round";
  for (const { size, erase, points } of all) {
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = size * scale;
    context.beginPath();
    context.moveTo(points[0][0] * scale, points[0][1] * scale);
    for (const [x, y] of points) context.lineTo(x * scale, y * scale);
    context.stroke();
  }
  context.globalCompositeOperation = "source-over";
}

function draw() {
  const scale = canvas.width / image.width;
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  paint(canvas, line ? [...lines, line] : lines, scale, "#f0f");
  if (byKey && document.activeElement === canvas) {
    const context = canvas.getContext("2d");
    context.beginPath();
    context.arc(brush[0] * scale, brush[1] * scale, (Number($("m-size").value) * scale) / 2, 0, 7);
    context.lineWidth = 2;
    context.strokeStyle = line ? "#f00" : "#00f";
    context.stroke();
  }
  $("m-undo").disabled = $("m-clear").disabled = lines.length === 0;
}

function fit() {
  const stage = $("m-stage"), scale = Math.min(stage.clientWidth / image.width, stage.clientHeight / image.height);
  const [width, height] = [Math.max(image.width * scale, 1), Math.max(image.height * scale, 1)];
  for (const one of [photo, canvas]) {
    one.style.width = `${width}px`;
    one.style.height = `${height}px`;
  }
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  draw();
}

function open(option, one) {
  image = one;
  lines = linesOf(option, one.id);
  line = finger = null;
  brush = [one.width / 2, one.height / 2];
  photo.src = `/api/uploads/${one.id}/image`;
  $("m-size").max = Math.max(Math.round(Math.max(one.width, one.height) / 4), 4);
  sized();
  $("m-status").textContent = "";
  fit();
}

const sized = () => { $("m-size-text").textContent = `${$("m-size").value} px`; };
const place = (event) => {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * image.width, ((event.clientY - box.top) / box.height) * image.height];
};
const start = (point) => { line = { size: Number($("m-size").value), erase: erasing, points: [point] }; draw(); };
const end = () => {
  if (line === null) return;
  lines.push(line);
  line = finger = null;
  draw();
};
const undo = () => { line = finger = null; lines.pop(); draw(); };
const setTool = (erase) => {
  erasing = erase;
  $("m-paint").setAttribute("aria-pressed", String(!erase));
  $("m-erase").setAttribute("aria-pressed", String(erase));
};

canvas.addEventListener("pointerdown", (event) => {
  byKey = false;
  if (line !== null) return;
  finger = event.pointerId;
  canvas.setPointerCapture(finger);
  start(place(event));
});
canvas.addEventListener("pointermove", (event) => {
  if (line === null || event.pointerId !== finger || event.buttons === 0) return;
  for (const one of event.getCoalescedEvents?.() ?? [event]) line.points.push(place(one));
  draw();
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => event.pointerId === finger && end());
canvas.addEventListener("keydown", (event) => {
  const step = Math.max(Number($("m-size").value) / 4, 1);
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  byKey = moves[event.key] !== undefined || event.key === " ";
  if (moves[event.key]) {
    brush = brush.map((value, axis) => Math.min(Math.max(value + moves[event.key][axis], 0), [image.width, image.height][axis]));
    if (line) line.points.push(brush);
    draw();
  } else if (event.key === " ") {
    if (line) end(); else start(brush);
    $("m-status").textContent = line ? "The brush is down." : "The brush is up.";
  } else if (event.key.toLowerCase() === "z") undo();
  else return;
  event.preventDefault();
});
for (const name of ["focus", "blur"]) canvas.addEventListener(name, () => image && draw());
$("m-size").addEventListener("input", () => { sized(); draw(); });
$("m-paint").addEventListener("click", () => setTool(false));
$("m-erase").addEventListener("click", () => setTool(true));
$("m-undo").addEventListener("click", undo);
$("m-clear").addEventListener("click", () => { lines.length = 0; draw(); });
$("m-done").addEventListener("click", () => dialog.close());
addEventListener("resize", () => { if (dialog.open) fit(); });

const isDrawn = (all) => all.some((one) => !one.erase);
const current = (option) => uploads.filter((one) => isDrawn(drawings.get(option)?.get(one.id) ?? []));

/** Draw the masks of an option; gives the number of images that have one when the dialog is closed. */
export async function drawMasks(option) {
  const images = uploads.filter((one) => one.width !== null);
  if (images.length === 0) {
    document.getElementById("form-problem").textContent = "Choose images first.";
    return 0;
  }
  $("m-image").replaceChildren(...images.map((one) => new Option(one.name, one.id)));
  $("m-image").onchange = () => open(option, images.find((one) => one.id === $("m-image").value));
  dialog.showModal();
  setTool(false);
  open(option, images[0]);
  canvas.focus();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  end();
  return current(option).length;
}

/** The masks of an option: PNG files, white on black, each with the id of the upload that it was drawn on. */
export async function drawnMasks(option) {
  const masks = [];
  for (const one of current(option)) {
    const full = document.createElement("canvas"), whole = document.createElement("canvas");
    for (const made of [full, whole]) [made.width, made.height] = [one.width, one.height];
    paint(full, drawings.get(option).get(one.id), 1, "#fff");
    const context = whole.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, one.width, one.height);
    context.drawImage(full, 0, 0);
    const blob = await new Promise((done) => whole.toBlob(done, "image/png"));
    if (blob === null) throw new Error(`${one.name} is too large to draw a mask in this browser: upload a mask.`);
    masks.push({ blob, id: one.id });
  }
  return masks;
}
