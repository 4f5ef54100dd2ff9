// `vaetools serve` and `vaetools view` as processes, and what tests do on their pages.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { encode } from "fast-png";

export const ROOT = new URL("../..", import.meta.url).pathname;
export const GOLDEN = join(ROOT, "tests/codec/golden");

const running = [];

/** Start a command; gives the address that it prints. */
export function run(...words) {
  const command = spawn(process.env.PYTHON, ["-m", "vaetools", ...words, "--no-browser"], { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  running.push(command);
  return new Promise((resolve, reject) => {
    command.stdout.on("data", (data) => {
      const found = String(data).match(/http:\S+/);
      if (found) resolve({ address: found[0], command });
    });
    command.on("exit", (code) => reject(new Error(`ended with ${code}`)));
  });
}

/** End all commands. */
export function interrupt() {
  for (const command of running) command.kill("SIGINT");
}

/** A PNG image with a dark speck, 120 × 80. */
function speck() {
  const data = new Uint8Array(120 * 80 * 3).map((_, index) => 100 + (index % 360) / 4);
  for (let y = 38; y < 42; y++) data.fill(0, (y * 120 + 58) * 3, (y * 120 + 62) * 3);
  return Buffer.from(encode({ width: 120, height: 80, data, channels: 3 }));
}
export const image = (name) => ({ name, mimeType: "image/png", buffer: speck() });

/** Wait until an element says something. */
export async function said(page, id, words) {
  try {
    await page.waitForFunction(([id, words]) => new RegExp(words).test(document.getElementById(id).textContent), [id, words], { timeout: 90_000 });
  } catch (error) {
    throw new Error(`#${id} does not say /${words}/ but: ${await page.textContent(`#${id}`)}`, { cause: error });
  }
}

/** Wait until the page of `vaetools serve` is ready. */
export const ready = (page) => page.waitForSelector("#run:enabled");

/** Remove all images and runs. */
export async function clear(page) {
  await page.evaluate(async () => {
    for (const { id } of (await (await fetch("/api/uploads")).json()).uploads) await fetch(`/api/uploads/${id}`, { method: "DELETE" });
    for (const { id } of (await (await fetch("/api/jobs")).json()).jobs) await fetch(`/api/jobs/${id}`, { method: "DELETE" });
  });
  await page.reload();
  await ready(page);
}
