"use strict";
/**
 * The viewer: opens with a click on an image, and compares it with the input of its row. One
 * transform moves all images in step.
 *
 * container: Holds the rows, `tr` or `li` elements with `a.shot` links and the name in `.in`.
 * rows: Returns the rows in order.
 */
function imageViewer(container, rows) {
  const $ = (id) => document.getElementById(id);
  const viewer = $("viewer");
  const stage = $("v-stage"), [before, after, over] = ["v-a", "v-b", "v-o"].map((id) => $(id).firstElementChild);
  let row = null, left = null, right = null, size = [1, 1], mode = "slide";
  let view = { scale: 1, x: 0, y: 0, fits: true }, drawn = 0;
  const shotsOf = (one) => [...one.querySelectorAll("a.shot")];
  const paneWidth = () => (mode === "side" ? stage.clientWidth / 2 : stage.clientWidth);
  const fitScale = () => Math.min(paneWidth() / size[0], stage.clientHeight / size[1], 8);
  const fit = () => {
    const scale = fitScale();
    view = { scale, x: (paneWidth() - size[0] * scale) / 2, y: (stage.clientHeight - size[1] * scale) / 2, fits: true };
    draw();
  };
  const zoom = (factor, x = paneWidth() / 2, y = stage.clientHeight / 2) => {
    const least = Math.min(fitScale() / 4, 1 / devicePixelRatio); // 1:1 of a small image, too
    const scale = Math.min(Math.max(view.scale * factor, least), 64), by = scale / view.scale;
    view = { scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by, fits: false };
    draw();
  };
  const actual = () => zoom(1 / (view.scale * devicePixelRatio));
  const pan = (x, y) => { view = { ...view, x: view.x + x, y: view.y + y, fits: false }; draw(); };
  const draw = () => { if (drawn === 0) drawn = requestAnimationFrame(paint); };
  const paint = () => {
    drawn = 0;
    for (const image of [before, after, over]) image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    stage.classList.toggle("near", view.scale * devicePixelRatio >= 2);
    $("v-zoom").textContent = `${Math.round(view.scale * devicePixelRatio * 100)} %`;
    sharpen(before);
    sharpen(after);
  };

  const nameOf = (shot) => shot.dataset.label || shot.dataset.role;
  const thumbnail = (shot) => shot.firstElementChild.src;
  const address = (shot) => shot.dataset.view || (thumbnail(shot).startsWith("data:") || shot.dataset.direct === undefined ? thumbnail(shot) : shot.href);
  const note = (words) => { $("v-note").textContent = words; };
  const place = (image, shot) => {
    image.shot = shot;
    image.tried = false;
    if (!shot) return image.removeAttribute("src");
    image.style.width = `${size[0]}px`;
    image.style.height = `${size[1]}px`;
    image.onerror = () => {
      image.onerror = null;
      if (image.shot !== shot) return;
      image.src = thumbnail(shot);
      note("The file is not at its place: this is a small preview.");
    };
    image.src = address(shot);
  };
  // At a high zoom, the file itself replaces a preview that is smaller.
  const sharpen = (image) => {
    const shot = image.shot;
    if (!shot || image.tried || !image.complete || image.naturalWidth === 0) return;
    if (view.scale * devicePixelRatio * size[0] <= image.naturalWidth * 1.05 || image.naturalWidth >= Number(shot.dataset.w)) return;
    image.tried = true;
    const small = `This is a preview of ${image.naturalWidth} × ${image.naturalHeight} pixels`;
    if (shot.dataset.direct === undefined) return note(`${small}: browsers do not display this kind of file.`);
    const probe = new Image();
    probe.onload = () => { if (image.shot === shot) image.src = probe.src; };
    probe.onerror = () => { if (image.shot === shot) note(`${small}: the file is not at its place.`); };
    probe.src = shot.href;
  };
  for (const image of [before, after]) image.addEventListener("load", draw);

  const open = (newRow, chosen) => {
    row = newRow;
    const shots = shotsOf(row), maps = shots.filter((shot) => shot.dataset.peak);
    const outputs = shots.filter((shot) => shot.dataset.role !== "input" && !shot.dataset.peak);
    left = shots.find((shot) => shot.dataset.role === "input") || null;
    right = outputs.includes(chosen) ? chosen : outputs[0] || null;
    if (!left && !right) left = chosen || shots[0];
    const list = rows().filter(hasShots), index = list.indexOf(row), all = list.length;
    $("v-name").title = row.querySelector(".in").textContent;
    $("v-name").textContent = $("v-name").title.split("/").pop();
    $("v-count").textContent = `${index + 1} of ${all}`;
    $("v-prev").disabled = index <= 0;
    $("v-next").disabled = index >= all - 1;
    $("v-strip").replaceChildren(...(outputs.length > 1 ? outputs.map(choice) : []));
    $("v-uncertainty").hidden = maps.length === 0;
    if (maps.length) $("v-peak").textContent = maps[0].dataset.peak;
    over.map = maps[0] || null;
    if (!viewer.open) { viewer.showModal(); stage.focus(); }
    choose(right);
    fit();
  };
  const choice = (shot) => {
    const button = document.createElement("button"), image = document.createElement("img");
    button.type = "button";
    image.src = thumbnail(shot);
    image.alt = "";
    button.append(image, nameOf(shot));
    button.shot = shot;
    button.addEventListener("click", () => choose(shot));
    return button;
  };
  const choose = (shot) => {
    right = shot;
    note("");
    const one = left || right;
    const changed = size[0] !== Number(one.dataset.w) || size[1] !== Number(one.dataset.h);
    size = [Number(one.dataset.w), Number(one.dataset.h)];
    place(before, left || right);
    place(after, left ? right : null);
    place(over, over.map);
    viewer.classList.toggle("single", !left || !right);
    before.alt = nameOf(left || right);
    after.alt = left && right ? nameOf(right) : "";
    $("v-left").textContent = before.alt;
    $("v-right").textContent = after.alt;
    for (const button of $("v-strip").children) button.setAttribute("aria-pressed", button.shot === shot);
    if (changed) fit(); else draw();
  };
  const hasShots = (one) => one.querySelector("a.shot") !== null;
  const step = (by) => {
    const list = rows().filter(hasShots), next = list[list.indexOf(row) + by];
    if (next) open(next);
  };
  const setMode = (name) => {
    if (viewer.classList.contains("single")) return;
    const width = paneWidth();
    mode = name;
    viewer.dataset.mode = stage.dataset.mode = name;
    for (const button of $("v-modes").children) button.setAttribute("aria-pressed", button.dataset.mode === name);
    if (view.fits) fit(); else pan((paneWidth() - width) / 2, 0); // the centre stays
  };
  viewer.dataset.mode = stage.dataset.mode = mode;

  const setSplit = () => stage.style.setProperty("--split", `${$("v-split").value}%`);
  const setGain = () => { stage.style.setProperty("--gain", $("v-gain").value); $("v-gain-text").textContent = `× ${$("v-gain").value}`; };
  const setOver = () => stage.style.setProperty("--over", $("v-over").value / 100);
  $("v-split").addEventListener("input", setSplit);
  $("v-gain").addEventListener("input", setGain);
  $("v-over").addEventListener("input", setOver);
  setSplit(); setGain(); setOver();

  for (const [id, action] of Object.entries({
    "v-prev": () => step(-1), "v-next": () => step(1), "v-close": () => viewer.close(),
    "v-fit": fit, "v-one": actual, "v-in": () => zoom(1.5), "v-out": () => zoom(1 / 1.5),
  })) $(id).addEventListener("click", action);
  for (const button of $("v-modes").children) button.addEventListener("click", () => setMode(button.dataset.mode));
  container.addEventListener("click", (event) => {
    const shot = event.target.closest("a.shot");
    if (!shot || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(shot.closest("tr, li"), shot);
  });
  viewer.addEventListener("close", () => {
    for (const image of [before, after, over]) place(image, null);
    row.querySelector("a.shot")?.focus();
  });
  addEventListener("resize", () => { if (viewer.open && view.fits) fit(); });

  // Pointers and keys.
  const pointers = new Map();
  let ofLine = null; // the pointer that moves the line between before and after, until a second one comes
  const corner = () => stage.getBoundingClientRect();
  const local = (x, y) => {
    const box = corner();
    return [(x - box.left) % paneWidth(), y - box.top];
  };
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    if (ofLine) pointers.set(ofLine.pointerId, ofLine);
    ofLine = event.target === $("v-line") && pointers.size === 0 ? event : null;
    if (!ofLine) pointers.set(event.pointerId, event);
  });
  const splitAt = (x) => { $("v-split").value = ((x - corner().left) / stage.clientWidth) * 100; setSplit(); };
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerId === ofLine?.pointerId) { ofLine = event; return splitAt(event.clientX); }
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const others = [...pointers.values()].filter((other) => other.pointerId !== event.pointerId);
    pointers.set(event.pointerId, event);
    const moved = [event.clientX - last.clientX, event.clientY - last.clientY];
    if (others.length === 0) return pan(...moved);
    pan(moved[0] / 2, moved[1] / 2); // as far as the middle between the fingers
    const far = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
    zoom(far(event) / Math.max(far(last), 1), ...local((event.clientX + others[0].clientX) / 2, (event.clientY + others[0].clientY) / 2));
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    if (event.pointerId === ofLine?.pointerId) ofLine = null;
  });
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...local(event.clientX, event.clientY));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => (view.fits ? zoom(1 / (view.scale * devicePixelRatio), ...local(event.clientX, event.clientY)) : fit()));
  const keys = {
    n: () => step(1), p: () => step(-1), PageDown: () => step(1), PageUp: () => step(-1),
    s: () => setMode("slide"), b: () => setMode("side"), d: () => setMode("diff"),
    0: fit, 1: actual, "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5),
  };
  const arrows = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.target === stage && arrows[name]) pan(...arrows[name]);
    else if (event.target.type === "range" && name.startsWith("Page")) return;
    else if (keys[name]) keys[name]();
    else return;
    event.preventDefault();
  });
}
