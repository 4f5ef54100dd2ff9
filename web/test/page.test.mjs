// The page in a real browser: files in, images out, one sentence for what is wrong.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { launch, skipWithout, watched } from "./browser.mjs";
import { GOLDEN, read } from "./helpers.mjs";

const PAGE = new URL("../dist/page/", import.meta.url).pathname;
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".json": "application/json" };
const skip = skipWithout();

let server, browser, address;
before(async () => {
  if (skip) return;
  server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
    const file = join(PAGE, path === "/" ? "index.html" : path);
    if (!existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, {
      "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    });
    response.end(readFileSync(file));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  address = `http://127.0.0.1:${server.address().port}/`;
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** The page. */
async function open(width = 1280) {
  const isExpected = (url) => url.startsWith(address) || url.startsWith("blob:");
  const found = await watched(browser, isExpected, { viewport: { width, height: 900 } });
  await found.page.goto(address);
  return found;
}

const file = (name, buffer) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.from(buffer) });
async function said(page, text) {
  const there = (wanted) => new RegExp(wanted).test(document.getElementById("status").textContent);
  try {
    await page.waitForFunction(there, text, { timeout: 60_000 });
  } catch {
    assert.fail(`"${text}" is not what the page says: "${await page.textContent("#status")}"`);
  }
}

// A file of the shipped model; see photo.test.mjs.
const folder = process.env.VAE_FOLDER;
const photo = folder && join(folder, readdirSync(folder).find((name) => name.endsWith(".vae")));

test("a file is shown, and saved as PNG", { skip: skip || (photo ? false : "VAE_FOLDER names no folder") }, async () => {
  const { page, faults } = await open();
  await page.setInputFiles("#file", [file("photo.png.vae", read(photo))]);
  await said(page, "Decoded in");
  const size = await page.evaluate(() => [document.querySelector("canvas").width, document.querySelector("canvas").height]);
  assert.ok(size[0] > 1 && size[1] > 1);
  await page.waitForFunction(() => document.getElementById("save").href.startsWith("blob:"));
  assert.equal(await page.getAttribute("#save", "download"), "photo.png");
  if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, "view-1280.png"), fullPage: true });
  await page.click("#zoom");
  assert.equal(await page.getAttribute("#zoom", "aria-pressed"), "true");
  await page.setViewportSize({ width: 390, height: 844 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `${overflow} pixels too wide`);
  if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, "view-390.png"), fullPage: true });
  assert.deepEqual(faults, []);
  await page.close();
});

test("a stored file shows its source", { skip }, async () => {
  const { page, faults } = await open();
  await page.setInputFiles("#file", [file("s.vae", read(new URL("streams/stored.vae", GOLDEN)))]);
  await said(page, "Decoded in");
  assert.match(await page.textContent("#facts"), /the source file is stored/);
  assert.deepEqual(faults, []);
  await page.close();
});

test("what is wrong is one sentence, and the next file still works", { skip }, async () => {
  const { page, faults } = await open();
  const good = read(new URL("streams/stored.vae", GOLDEN));
  const other = read(new URL("streams/grey.vae", GOLDEN));
  const flipped = good.map((byte, i) => (i === 40 ? byte ^ 1 : byte));
  for (const [name, bytes, sentence] of [
    ["cut.vae", good.subarray(0, 90), "cut.vae: The file cannot be decoded: it .*\\.$"],
    ["flipped.vae", flipped, "flipped.vae: The file cannot be decoded: .*checksum"],
    ["text.vae", Buffer.from("hello"), "it is not a .vae file"],
    ["empty.vae", Buffer.alloc(0), "it is not a .vae file"],
    ["other.vae", other, "was encoded by model .*available: photo-codec"],
  ]) {
    await page.setInputFiles("#file", [file(name, bytes)]);
    await said(page, sentence);
    assert.ok(await page.isHidden("#result"));
    assert.ok(await page.evaluate(() => document.getElementById("status").classList.contains("wrong")));
  }
  await page.setInputFiles("#file", [file("good.vae", good)]);
  await said(page, "Decoded in");
  assert.ok(await page.isVisible("#result"));
  assert.deepEqual(faults, []);
  await page.close();
});

test("everything is reached by keyboard", { skip }, async () => {
  const { page } = await open();
  await page.setInputFiles("#file", [
    file("a.vae", read(new URL("streams/stored.vae", GOLDEN))),
    file("b.vae", Buffer.from("no")),
  ]);
  await said(page, "not a .vae file");
  const reached = [];
  for (let i = 0; i < 8; i++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent));
  }
  for (const wanted of ["file", "a.vae", "b.vae"]) assert.ok(reached.includes(wanted), `${wanted}: ${reached}`);
  await page.getByText("a.vae", { exact: true }).first().focus();
  await page.keyboard.press("Enter");
  assert.ok(await page.isVisible("#result"));
  for (const wanted of ["zoom", "save", "frame"]) {
    await page.focus(`#${wanted}`);
    assert.equal(await page.evaluate(() => document.activeElement.id), wanted);
  }
  await page.close();
});
