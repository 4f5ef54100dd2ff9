// Files of the shipped model: `python -m tests.codec.for_browsers DIR`, then VAE_FOLDER=DIR npm test.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { decode as decodePng } from "fast-png";
import { decode, parse, readSymbols } from "../dist/vaetools.js";
import { pathToFileURL } from "node:url";
import { digest, openModel, read, stream } from "./helpers.mjs";

const folder = process.env.VAE_FOLDER;
const names = folder ? readdirSync(folder).filter((n) => n.endsWith(".vae")) : [];
const model = folder
  ? await openModel(new URL("../../exported_models/vaetools_models/photo-codec/", import.meta.url))
  : null;

test("files of the shipped model", { skip: folder ? false : "VAE_FOLDER names no folder" }, async (t) => {
  assert.ok(names.length > 0);
  for (const name of names) {
    await t.test(`${name} decodes as in Python`, async () => {
      const path = join(folder, name.replace(/\.vae$/, ""));
      const data = read(`${path}.vae`);
      const wanted = JSON.parse(readFileSync(`${path}.json`, "utf8"));
      const symbols = await readSymbols(model, parse(data));
      for (const part of ["z", "index", "r"]) assert.equal(digest(symbols[part]), wanted[part], part);
      const image = await decode(data, [model]);
      const pixels = decodePng(read(`${path}.png`)).data;
      assert.equal(image.samples.length, pixels.length);
      let most = 0;
      for (let i = 0; i < pixels.length; i++) most = Math.max(most, Math.abs(image.samples[i] - pixels[i]));
      assert.ok(most <= 1, `${most}`);
    });
  }
});

const skip = folder ? false : "VAE_FOLDER names no folder";
const LATENTS = 12; // channels of the miniature model
const shared = folder ? pathToFileURL(join(folder, "shared-weights/")) : null;

test("graphs that share weights", { skip }, async () => {
  const image = await decode(stream("levels"), [await openModel(shared)]);
  assert.deepEqual(image.samples, (await decode(stream("levels"), [await openModel()])).samples);
});

test("shared weights that are damaged", { skip }, async () => {
  const damaged = (name, data) => (name === "weights.bin" ? data.fill(7, 0, 1) : data);
  await assert.rejects(openModel(shared, damaged), { name: "ModelError", message: /weights\.bin/ });
});

test("two models at once get their own weights", { skip }, async () => {
  // The runtime knows files of weights by name, and these have the same.
  const places = [shared, pathToFileURL(join(folder, "other-weights/"))];
  const latents = { data: new Float32Array(16 * LATENTS).fill(3), dims: [1, LATENTS, 4, 4] };
  const rate = { data: new Float32Array([1]), dims: [1, 1, 1, 1] };
  const synthesise = async (model) => (await model.run("synthesis", [latents, rate]))[0].data;
  const alone = [];
  for (const place of places) alone.push(await synthesise(await openModel(place)));
  assert.notDeepEqual(alone[0], alone[1]);
  const models = await Promise.all(places.map((place) => openModel(place)));
  assert.deepEqual(await Promise.all(models.map(synthesise)), alone);
});
