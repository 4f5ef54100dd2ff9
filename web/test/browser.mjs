// What all tests in a real browser have in common.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const BROWSER = process.env.CHROMIUM ?? "/usr/bin/chromium";
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** Why the tests are left out, or false; `variable` is an environment variable that they need. */
export function skipWithout(variable) {
  if (variable && !process.env[variable]) return `${variable} is not set`;
  return existsSync(BROWSER) ? false : "there is no chromium";
}

export const launch = () => chromium.launch({ executablePath: BROWSER, args: ["--no-sandbox"] });

/** A new page that notes what must not happen: errors, and requests to addresses that are not expected. */
export async function watched(browser, isExpected, { isNoise = () => false, ...options } = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (message) => message.type() === "error" && !isNoise(message.text()) && faults.push(message.text()));
  page.on("request", (request) => isExpected(request.url()) || faults.push(request.url()));
  return { page, faults };
}

/** Serious findings of axe-core, with the first place of each. */
export async function serious(page) {
  await page.evaluate(readFileSync(AXE, "utf8"));
  const { violations } = await page.evaluate(() => window.axe.run());
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id} ${nodes.length}: ${nodes[0].html.slice(0, 200)}`);
}

/** By how many pixels the page is wider than the window. */
export const excess = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
