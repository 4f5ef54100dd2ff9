// The documentation in a real browser, from files. It is built before, in the root of the repository:
// python -m mkdocs build --site-dir DIR; then here SITE_FOLDER=DIR npm test.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { excess, launch, serious, skipWithout, watched } from "./browser.mjs";

const FOLDER = process.env.SITE_FOLDER && resolve(process.env.SITE_FOLDER);
const skip = skipWithout("SITE_FOLDER");

let browser;
before(async () => {
  if (!skip) browser = await launch();
});
after(() => browser?.close());

/** A page from a file. */
async function open(name, options = {}) {
  const isNoise = (text) => /by CORS policy|net::ERR_FAILED/.test(text); // axe-core asks for style sheets of files
  const found = await watched(browser, (url) => /^(file|data|blob|about):/.test(url), { isNoise, ...options });
  await found.page.goto(pathToFileURL(join(FOLDER, name)).href);
  return found;
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
      assert.deepEqual(await serious(page), [], name);
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
    assert.equal(await excess(page), 0, name);
  }
});
