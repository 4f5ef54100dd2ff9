// The documentation in a real browser, from files. It is built before, in the root of the repository:
// python -m mkdocs build --site-dir DIR; then here SITE_FOLDER=DIR npm test.
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const BROWSER = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FOLDER = process.env.SITE_FOLDER && resolve(process.env.SITE_FOLDER);
const skip = !FOLDER ? "SITE_FOLDER is not set" : existsSync(BROWSER) ? false : "there is no chromium";
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

let browser;
before(async () => {
  if (!skip) browser = await chromium.launch({ executablePath: BROWSER, args: ["--no-sandbox"] });
});
after(() => browser?.close());

/** A page that notes errors, and requests to anything but files. */
async function open(name, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => /^(file|data|blob|about):/.test(request.url()) || faults.push(request.url()));
  await page.goto(pathToFileURL(join(FOLDER, name)).href);
  return { page, faults };
}

/** Serious findings of axe-core, with the first place of each. */
async function findings(page) {
  await page.addScriptTag({ path: AXE });
  const { violations } = await page.evaluate(() => window.axe.run());
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id} ${nodes.length}: ${nodes[0].html.slice(0, 200)}`);
}

test("search finds an option without a server", { skip }, async () => {
  const { page, faults } = await open("index.html");
  await page.click(".md-search__form");
  await page.locator("input.md-search__input").pressSequentially("--target-size");
  const first = page.locator(".md-search-result__link").first();
  await first.waitFor({ timeout: 20_000 });
  assert.match(await page.locator(".md-search-result__list").textContent(), /Compressing/);
  await first.click();
  await page.waitForURL(/\.html/);
  assert.deepEqual(faults, []);
});

const PAGES = ["index.html", "api.html", "benchmarks.html", "comparison.html", "errors.html", "gallery.html",
  "limitations.html", "training.html", "tutorial/own-plugin.html"];

for (const colorScheme of ["light", "dark"]) {
  test(`nothing from elsewhere, no serious finding: ${colorScheme}`, { skip }, async () => {
    for (const name of PAGES) {
      const { page, faults } = await open(name, { colorScheme });
      await page.waitForTimeout(200);
      assert.deepEqual(await findings(page), [], name);
      assert.deepEqual(faults, [], name);
      await page.close();
    }
  });
}

test("no page is wider than a phone", { skip }, async () => {
  const names = readdirSync(FOLDER, { recursive: true }).filter((name) => name.endsWith(".html"));
  assert.ok(names.length > 40);
  const { page } = await open("index.html", { viewport: { width: 390, height: 844 } });
  for (const name of names) {
    await page.goto(pathToFileURL(join(FOLDER, name)).href);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 390, name);
  }
});
