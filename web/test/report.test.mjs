// The report of a run in a real browser. Its pages are written before, in the root of the repository:
// python -m tests.report.for_browsers DIR; then here REPORT_FOLDER=DIR npm test.
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { excess, launch, serious, skipWithout, watched } from "./browser.mjs";

const FOLDER = process.env.REPORT_FOLDER;
const skip = skipWithout("REPORT_FOLDER");

let browser;
before(async () => {
  if (!skip) browser = await launch();
});
after(() => browser?.close());

/** The page of a report. */
async function open(name, options = {}) {
  const found = await watched(browser, (url) => /^(file|data):/.test(url), options);
  await found.page.goto(pathToFileURL(join(FOLDER, name, "report.html")).href);
  return found;
}
const transform = (page, id) => page.evaluate((pane) => document.querySelector(`#${pane} img`).style.transform, id);
const settled = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
const visible = (page) => page.locator("#inputs tbody tr:visible").count();

test("slider, zoom and pan move both images in step", { skip }, async () => {
  const { page, faults } = await open("small");
  await page.locator("tr", { hasText: "a.png" }).locator("a.shot").first().click();
  await page.waitForFunction(() => document.querySelector("#v-b img").naturalWidth === 400);
  await page.focus("#v-split");
  const clip = () => page.evaluate(() => getComputedStyle(document.getElementById("v-b")).clipPath);
  const middle = await clip();
  for (let count = 0; count < 20; count++) await page.keyboard.press("ArrowRight");
  assert.equal(middle, "inset(0px 0px 0px 50%)");
  assert.equal(await clip(), "inset(0px 0px 0px 60%)");
  await page.click("#v-one");
  await settled(page);
  assert.match(await transform(page, "v-a"), /scale\(1\)$/);
  const start = await transform(page, "v-a");
  await page.focus("#v-stage");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("+");
  await settled(page);
  assert.notEqual(await transform(page, "v-a"), start);
  assert.equal(await transform(page, "v-a"), await transform(page, "v-b"));
  assert.equal(await transform(page, "v-a"), await transform(page, "v-o"));
  await page.keyboard.press("d");
  assert.equal(await page.evaluate(() => getComputedStyle(document.getElementById("v-b")).mixBlendMode), "difference");
  await page.fill("#v-over", "70");
  assert.equal(await page.evaluate(() => getComputedStyle(document.getElementById("v-o")).opacity), "0.7");
  assert.equal(await page.textContent("#v-peak"), "19.5");
  await page.click("#v-strip button:has-text('sample 1')");
  assert.equal(await page.textContent("#v-right"), "sample 1");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.className), "shot");
  assert.deepEqual(faults, []);
});

test("TIFF files have previews, and names are text", { skip }, async () => {
  const { page, faults } = await open("small");
  await page.locator("tr", { hasText: ".tif" }).locator("a.shot").first().click();
  await page.waitForFunction(() => document.querySelector("#v-a img").naturalWidth === 400);
  assert.match(await page.textContent("#v-name"), /<b>&\.tif$/);
  assert.deepEqual(faults, []);
});

test("a thousand images: size, sorting, filter and time of the page", { skip }, async () => {
  assert.ok(statSync(join(FOLDER, "many/report.html")).size < 2_000_000);
  const { page, faults } = await open("many");
  assert.equal(await visible(page), 200);
  const size = page.locator("#inputs th", { hasText: "Size" }).locator("button");
  await size.click();
  await size.click();
  assert.match(await page.locator("#inputs tbody tr").first().textContent(), /IMG_0999/);
  await page.fill("#words", "img_00");
  await page.waitForFunction(() => document.getElementById("matches").textContent === "100 of 1,000");
  assert.equal(await visible(page), 100);
  await page.locator("a.shot:visible").first().click();
  await page.waitForFunction(() => document.querySelector("#v-a img").naturalWidth === 80); // the file itself
  await page.keyboard.press("n");
  assert.equal(await page.textContent("#v-count"), "2 of 100");
  const milliseconds = await page.evaluate(() => {
    const split = document.getElementById("v-split"), start = performance.now();
    for (let value = 0; value < 100; value++) {
      split.value = value;
      split.dispatchEvent(new Event("input"));
      document.getElementById(value % 2 ? "v-in" : "v-out").click();
      document.getElementById("v-b").getBoundingClientRect();
    }
    return (performance.now() - start) / 100;
  });
  assert.ok(milliseconds < 50, `${milliseconds} ms`);
  assert.deepEqual(faults, []);
});

test("without scripts it is a table with links", { skip }, async () => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(pathToFileURL(join(FOLDER, "small/report.html")).href);
  assert.equal(await visible(page), 3);
  assert.equal(await page.locator("form, dialog").locator("visible=true").count(), 0);
  assert.match(await page.locator("a.shot").first().getAttribute("href"), /\.(png|tif)$/);
});

for (const colorScheme of ["light", "dark"])
  for (const width of [1280, 390])
    test(`accessible at ${width} pixels, ${colorScheme}`, { skip }, async () => {
      const { page } = await open("small", { bypassCSP: true, colorScheme, viewport: { width, height: 844 } });
      assert.equal(await excess(page), 0);
      assert.deepEqual(await serious(page), []);
      await page.locator("tr", { hasText: "a.png" }).locator("a.shot").first().click();
      assert.deepEqual(await serious(page), []);
    });
