// `vaetools serve` and `vaetools view` in a real browser. PYTHON names an interpreter with vaetools.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { encode } from "fast-png";
import { excess, launch, serious, skipWithout, watched } from "./browser.mjs";
import { clear, GOLDEN, image, interrupt, ROOT, run, said } from "./serving.mjs";

const skip = skipWithout("PYTHON");

let browser, address;
before(async () => {
  if (skip) return;
  browser = await launch();
  ({ address } = await run("serve"));
});
after(async () => {
  await browser?.close();
  interrupt();
});

/** A page of a server. */
async function open(at, options = {}) {
  const { origin } = new URL(at);
  const isNoise = (text) => /Failed to load resource/.test(text);
  const found = await watched(browser, (url) => url.startsWith(origin) || /^(data|blob):/.test(url), { isNoise, ...options });
  await found.page.goto(at);
  await found.page.waitForSelector("#run:enabled, #images");
  return found;
}
const shoot = (page, name) => process.env.SHOTS && page.screenshot({ path: join(process.env.SHOTS, `${name}.png`), fullPage: true });

test("a run: upload, options, results, slider, zip", { skip }, async () => {
  const { page, faults } = await open(address);
  await clear(page);
  assert.equal(new URL(page.url()).search, ""); // the token is out of the address
  assert.equal(await page.evaluate(() => document.cookie), "");
  await page.setInputFiles("#files", [image("a.png"), image("<b>.png"), { name: "bad.png", mimeType: "image/png", buffer: Buffer.from("no") }]);
  await said(page, "upload-status", "^2 images");
  assert.match(await page.textContent("#refused"), /^E010 bad\.png: /);
  await page.selectOption("#operation", "mask-dust");
  await page.fill("#mask-dust-size", "500");
  await page.click("#run");
  await said(page, "form-problem", "^E004 size=500 is not 1 … 99");
  await page.fill("#mask-dust-size", "9");
  await page.click("#run");
  await said(page, "results", "mask-dust: done");
  assert.match(await page.textContent(".job .summary"), /^2 done/);
  await page.waitForSelector(".job a.shot >> nth=3");
  await page.locator(".job li", { hasText: "<b>.png" }).locator("a.shot").first().click();
  await page.waitForFunction(() => document.querySelector("#v-b img").naturalWidth === 120);
  await page.focus("#v-split");
  const clip = () => page.evaluate(() => getComputedStyle(document.getElementById("v-b")).clipPath);
  for (let count = 0; count < 20; count++) await page.keyboard.press("ArrowRight");
  assert.equal(await clip(), "inset(0px 0px 0px 60%)");
  await page.keyboard.press("Escape");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Save all as zip")]);
  assert.equal(download.suggestedFilename(), "mask-dust.zip");
  await page.reload(); // everything is still there
  await said(page, "results", "mask-dust: done");
  assert.equal(await page.locator("#uploads li").count(), 2);
  await page.waitForSelector(".job a.shot >> nth=3");
  await page.click(".job button:has-text('Remove')");
  await page.waitForFunction(() => !document.getElementById("none").hidden);
  assert.deepEqual(faults, []);
});

/** Draw a line through the speck of the image that the dialog shows. */
async function drawOverSpeck(page) {
  await page.waitForFunction(() => document.getElementById("m-photo").naturalWidth === 120);
  await page.fill("#m-size", "8");
  const box = await page.locator("#m-canvas").boundingBox();
  await page.mouse.move(box.x + box.width * 0.47, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.53, box.y + box.height / 2, { steps: 8 });
  await page.mouse.up();
}

/** Green in the middle of a result, where the speck was. */
const level = (page, name) => page.evaluate(async (name) => {
  const bitmap = await createImageBitmap(await (await fetch(document.querySelector(`.job li a[download='${name}']`).href)).blob());
  const context = new OffscreenCanvas(120, 80).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(60, 40, 1, 1).data[1];
}, name);

test("a mask is drawn with the mouse and fills a hole", { skip }, async () => {
  const { page, faults } = await open(address);
  await clear(page);
  await page.setInputFiles("#files", [image("a.png"), image("b.png")]);
  await said(page, "upload-status", "^2 images");
  await page.selectOption("#operation", "inpaint");
  await page.click("#run");
  await said(page, "form-problem", "^E004 mask is not given");
  await page.click("fieldset[data-op=inpaint] .draw");
  await drawOverSpeck(page);
  await shoot(page, "serve-mask");
  await page.click("#m-done");
  await page.waitForSelector("fieldset[data-op=inpaint] .drawn:text('1 drawn')");
  await page.selectOption("#inpaint-missing_mask", "copy");
  await page.click("#run");
  await said(page, "results", "inpaint: done");
  assert.match(await page.textContent(".job .summary"), /^2 done, 1 of 2 unchanged/);
  assert.ok((await level(page, "a.png")) > 60, "the speck is still there");
  assert.deepEqual(faults, []);
});

test("a mask belongs to the image that it was drawn on, whatever others are called", { skip }, async () => {
  const { page, faults } = await open(address);
  await clear(page);
  await page.setInputFiles("#files", [image("a.png"), image("a.png")]);
  await said(page, "upload-status", "^2 images");
  await page.selectOption("#operation", "inpaint");
  await page.click("fieldset[data-op=inpaint] .draw");
  await page.selectOption("#m-image", { index: 1 });
  await drawOverSpeck(page);
  await page.click("#m-done");
  await page.selectOption("#inpaint-missing_mask", "copy");
  await page.click("#run");
  await said(page, "results", "inpaint: done");
  assert.match(await page.textContent(".job .summary"), /^2 done, 1 of 2 unchanged/);
  assert.ok((await level(page, "a (2).png")) > 60, "the mask was not applied to its image");
  assert.ok((await level(page, "a.png")) < 60, "the mask was applied to another image");
  assert.deepEqual(faults, []);
});

test("masks from a folder belong to the images of another folder", { skip }, async () => {
  const { page, faults } = await open(address);
  await clear(page);
  const folder = mkdtempSync(join(tmpdir(), "vaetools-"));
  const hole = (index) => 255 * (Math.abs((index % 120) - 60) < 8 && Math.abs(index / 120 - 40) < 8);
  const mask = Buffer.from(encode({ width: 120, height: 80, channels: 1, data: Uint8Array.from({ length: 9600 }, (_, index) => hole(index)) }));
  const files = { "photos/x/a.png": image("").buffer, "photos/y/a.png": image("").buffer, "masks/x/a.png": mask, "masks/y/a.png": mask };
  for (const [name, data] of Object.entries({ ...files, "masks/notes.md": "left out", "masks/.hidden": "" })) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), data);
  }
  await page.setInputFiles("#folder", join(folder, "photos"));
  await said(page, "upload-status", "^2 images");
  await page.selectOption("#operation", "inpaint");
  const field = "fieldset[data-op=inpaint] [data-name=mask]";
  await page.setInputFiles(`${field} .files`, [image("other.png")]);
  await page.setInputFiles(`${field} .folder`, join(folder, "masks"));
  assert.equal(await page.inputValue(`${field} .files`), ""); // one or the other
  await page.click("#run");
  await said(page, "results", "inpaint: done");
  assert.match(await page.textContent(".job .summary"), /^2 done, (?!.*unchanged)/);
  assert.deepEqual(faults, []);
  rmSync(folder, { recursive: true });
});

/** The names of the files of options that the server has, once Run can be pressed again. */
async function optionFiles(page) {
  await page.waitForSelector("#run:enabled");
  return page.evaluate(async () => {
    const { uploads } = await (await fetch("/api/uploads")).json();
    return uploads.filter(({ purpose }) => purpose === "option").map(({ name }) => name);
  });
}

test("files of options are freed when the run has them, or is refused", { skip }, async () => {
  const { page, faults } = await open(address);
  await clear(page);
  await page.setInputFiles("#files", [image("a.png")]);
  await said(page, "upload-status", "^1 image\\.");
  await page.selectOption("#operation", "inpaint");
  await page.setInputFiles("fieldset[data-op=inpaint] [data-name=mask] .files", [image("m.png")]);
  await page.fill("#inpaint-grow", "-1");
  await page.click("#run");
  await said(page, "form-problem", "^E004 grow");
  assert.deepEqual(await optionFiles(page), []);
  await page.fill("#inpaint-grow", "0");
  await page.click("#run");
  await said(page, "results", "inpaint: (done|failed)");
  assert.deepEqual(await optionFiles(page), []);
  assert.deepEqual(faults, []);
});

test("keys alone: upload, draw, run, compare", { skip }, async () => {
  const { page, faults } = await open(address);
  // Choosers are caught some time after one is waited for, so this comes first.
  const coming = page.waitForEvent("filechooser");
  await clear(page);
  await page.focus("#files");
  await page.keyboard.press("Enter");
  const chooser = await coming;
  await chooser.setFiles([image("a.png")]);
  await said(page, "upload-status", "^1 image\\.");
  const reach = async (wanted) => {
    for (let count = 0; count < 60; count++) {
      if (await page.evaluate((selector) => document.activeElement.matches(selector), wanted)) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`${wanted} is not reached with Tab`);
  };
  await reach("#operation");
  await page.keyboard.type("inpaint");
  await reach("fieldset[data-op=inpaint] .draw");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement.id === "m-canvas");
  await page.keyboard.press("Space");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Space");
  await reach("#m-done");
  await page.keyboard.press("Enter");
  await page.waitForSelector("fieldset[data-op=inpaint] .drawn:text('1 drawn')");
  await reach("#run");
  await page.keyboard.press("Enter");
  await said(page, "results", "inpaint: done");
  await page.waitForSelector(".job a.shot >> nth=1");
  await reach("a.shot");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("viewer").open);
  await page.keyboard.press("d");
  assert.equal(await page.getAttribute("#v-modes [data-mode=diff]", "aria-pressed"), "true");
  await page.keyboard.press("Escape");
  assert.deepEqual(faults, []);
});

test("images that are chosen before the page is ready are in the list once", { skip }, async () => {
  const { page, faults } = await open(address);
  await clear(page);
  await page.setInputFiles("#files", [image("old.png")]);
  await said(page, "upload-status", "^1 image\\.");
  /** Hold requests back until the function that it gives is called. */
  const held = async (pattern) => {
    let release;
    const released = new Promise((resolve) => { release = resolve; });
    await page.route(pattern, async (route) => {
      if (route.request().method() === "GET") await released;
      await route.continue();
    });
    return release;
  };
  const [script, list] = [await held("**/static/uploads.js"), await held("**/api/uploads")];
  await page.reload({ waitUntil: "commit" });
  await page.setInputFiles("#files", [image("before.png")]); // nobody listens yet
  script();
  await said(page, "upload-status", "^Sending: 1 left");
  await page.setInputFiles("#files", [image("while.png")]); // the server has not said yet what it has
  assert.ok(await page.isDisabled("#run"));
  list();
  await said(page, "upload-status", "^3 images\\.$");
  assert.deepEqual(await page.locator("#uploads li span").allTextContents(), ["before.png", "old.png", "while.png"]);
  assert.deepEqual(faults, []);
});

test("a run waits for all images, and what cannot be read is a line", { skip }, async () => {
  const { page, faults } = await open(address);
  await clear(page);
  await page.selectOption("#operation", "mask-dust");
  let release;
  const released = new Promise((resolve) => { release = resolve; });
  await page.route("**/api/uploads?purpose=input", async (route) => {
    await released;
    await route.continue();
  });
  await page.evaluate((bytes) => {
    const file = (name) => ({ isFile: true, fullPath: `/d/${name}`, file: (take) => take(new File([new Uint8Array(bytes)], name)) });
    const denied = (_, fail) => fail(new DOMException("", "NotReadableError"));
    const folder = (fullPath, readEntries) => ({ isFile: false, fullPath, createReader: () => ({ readEntries }) });
    const inside = [[file("a.png"), { ...file("b.png"), file: denied }, folder("/d/sub", denied), file("c.png")], []];
    const items = [{ webkitGetAsEntry: () => folder("/d", (take) => take(inside.shift())) }];
    document.getElementById("drop").dispatchEvent(Object.assign(new Event("drop", { bubbles: true }), { dataTransfer: { items, files: [] } }));
  }, [...image("a.png").buffer]);
  await said(page, "upload-status", "^Sending: 2 left");
  await page.click("#run");
  await page.setInputFiles("#files", [image("late.png")]);
  await said(page, "upload-status", "^Sending: 3 left");
  assert.ok(await page.isDisabled("#run"));
  release();
  await said(page, "results", "mask-dust: done");
  assert.match(await page.textContent(".job .summary"), /^3 done/);
  const lines = await page.locator("#refused li").allTextContents();
  assert.deepEqual(lines, ["d/b.png: this cannot be read (NotReadableError).", "d/sub: this cannot be read (NotReadableError)."]);
  assert.deepEqual(faults, []);
});

test("a run that waits and one in work are cancelled", { skip }, async () => {
  const { address: at } = await run("--plugins-dir", join(ROOT, "tests/web/plugins"), "serve");
  const { page, faults } = await open(at);
  await page.selectOption("#operation", "endless");
  await page.setInputFiles("#files", [image("a.png")]);
  await said(page, "upload-status", "^1 image\\.");
  for (const state of ["running", "queued"]) {
    await page.click("#run");
    await said(page, "results", `^endless: ${state}`); // the newest comes first
  }
  for (const number of [0, 1]) {
    const box = page.locator("article").nth(number);
    await box.locator("button:has-text('Cancel')").click();
    await box.locator("h3", { hasText: "endless: cancelled" }).waitFor();
  }
  assert.deepEqual(faults, []);
});

test("an option that is left alone keeps its default; a cleared one is None", { skip }, async () => {
  const { address: at } = await run("--plugins-dir", join(ROOT, "tests/web/plugins"), "serve");
  const { page, faults } = await open(at);
  await page.selectOption("#operation", "defaults");
  await page.setInputFiles("#files", [image("a.png")]);
  await said(page, "upload-status", "^1 image\\.");
  /** The options that a run is started with. */
  const started = async () => {
    const [request] = await Promise.all([page.waitForRequest("**/api/operations/defaults"), page.click("#run")]);
    assert.equal((await request.response()).status(), 202);
    await page.waitForSelector("#run:enabled");
    return request.postDataJSON().options;
  };
  assert.equal(await page.inputValue("#defaults-seed"), "1234567");
  assert.equal(await page.inputValue("#defaults-size"), "64,48");
  assert.deepEqual(await started(), {});
  await page.selectOption("#defaults-mode", "a");
  await page.selectOption("#defaults-fast", "false");
  await page.fill("#defaults-count", "");
  await page.fill("#defaults-size", "8, 9");
  assert.deepEqual(await started(), { mode: "a", fast: false, count: null, size: [8, 9] });
  await said(page, "results", "defaults: done");
  assert.deepEqual(faults, []);
});

const view = async () => run("view", join(GOLDEN, "streams/stored.vae"), join(GOLDEN, "streams/grey.vae"), "--models-dir", GOLDEN);

test("view shows images, and ends when its page is closed", { skip }, async () => {
  const { address: at, command } = await view();
  const { page, faults } = await open(at);
  await page.waitForFunction(() => [...document.images].filter((one) => one.closest("#images")).every((one) => one.naturalWidth > 0));
  await page.locator("a.shot").first().click();
  await page.waitForFunction(() => document.querySelector("#v-a img").naturalWidth > 0);
  await page.keyboard.press("n");
  assert.equal(await page.textContent("#v-count"), "2 of 2");
  await page.keyboard.press("Escape");
  assert.deepEqual(faults, []);
  const end = new Promise((resolve) => command.on("exit", resolve));
  await page.context().close();
  assert.equal(await end, 0);
});

for (const colorScheme of ["light", "dark"])
  for (const size of [1280, 390])
    test(`accessible at ${size} pixels, ${colorScheme}`, { skip }, async () => {
      const options = { bypassCSP: true, colorScheme, viewport: { width: size, height: 844 } };
      const { page } = await open(address, options);
      await clear(page);
      await page.setInputFiles("#files", [image("a.png"), { name: "bad.png", mimeType: "image/png", buffer: Buffer.from("no") }]);
      await said(page, "upload-status", "^1 image\\.");
      await page.selectOption("#operation", "mask-dust");
      await page.click("#run");
      await said(page, "results", "mask-dust: done");
      await page.waitForSelector(".job a.shot >> nth=1");
      for (const name of await page.locator("#operation option").allTextContents()) {
        await page.selectOption("#operation", name);
        assert.equal(await excess(page), 0, name);
      }
      await page.selectOption("#operation", "inpaint");
      assert.deepEqual(await serious(page), []);
      await shoot(page, `serve-${size}-${colorScheme}`);
      await page.click("fieldset[data-op=inpaint] .draw");
      await page.waitForFunction(() => document.getElementById("m-photo").naturalWidth === 120);
      assert.deepEqual(await serious(page), []);
      await shoot(page, `serve-mask-${size}-${colorScheme}`);
      await page.click("#m-done");
      await page.locator(".job a.shot").first().click();
      assert.deepEqual(await serious(page), []);
      await shoot(page, `serve-viewer-${size}-${colorScheme}`);
      const other = await open((await view()).address, options);
      await other.page.waitForFunction(() => document.querySelector("#images img").naturalWidth > 0);
      assert.equal(await excess(other.page), 0);
      assert.deepEqual(await serious(other.page), []);
      await shoot(other.page, `view-${size}-${colorScheme}`);
      await other.page.context().close();
      await page.context().close();
    });
