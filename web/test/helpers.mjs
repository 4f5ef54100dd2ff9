// The miniature model and its files, which Python wrote; see tests/codec/golden.
import { createHash, webcrypto } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import * as ort from "onnxruntime-web/wasm";
import { Model } from "../dist/vaetools.js";

globalThis.crypto ??= webcrypto; // Node.js 18
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

export const GOLDEN = new URL("../../tests/codec/golden/", import.meta.url);
export const NAMES = readdirSync(new URL("streams/", GOLDEN))
  .filter((name) => name.endsWith(".vae"))
  .map((name) => name.replace(/\.vae$/, ""));

export const read = (url) => new Uint8Array(readFileSync(url));
export const stream = (name) => read(new URL(`streams/${name}.vae`, GOLDEN));
export const known = (name) => JSON.parse(readFileSync(new URL(`streams/${name}.json`, GOLDEN), "utf8"));

export function openModel(folder = new URL("model/", GOLDEN), change = (name, data) => data) {
  return Model.open(ort, async (name) => change(name, read(new URL(name, folder))));
}

/** SHA-256 of integers as little-endian numbers of 64 bits. */
export function digest(values) {
  return createHash("sha256").update(Buffer.from(BigInt64Array.from(values, BigInt).buffer)).digest("hex");
}
