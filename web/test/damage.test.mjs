// Damaged files and models: one sentence each, never an image.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { BitstreamError, decode, ModelError, parse, readSymbols, UnsupportedError } from "../dist/vaetools.js";
import { openModel, stream } from "./helpers.mjs";

const model = await openModel();
const data = stream("metadata");

const refused = (bytes) => assert.throws(() => parse(bytes), BitstreamError);

test("no prefix of a file is a file", () => {
  for (let length = 0; length < data.length; length++) refused(data.subarray(0, length));
});

test("every flipped bit is noticed", () => {
  for (let at = 0; at < data.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const bytes = data.slice();
      bytes[at] ^= 1 << bit;
      refused(bytes);
    }
  }
});

test("bytes after the end are noticed", () => refused(Uint8Array.from([...data, 0])));

test("the pixel limit is checked before anything is decoded", () => {
  assert.throws(() => parse(stream("levels"), { maxPixels: 1000 }), /megapixels, more than the limit/);
});

test("a file of another model names both", async () => {
  await assert.rejects(decode(data, []), (error) => {
    assert.ok(error instanceof UnsupportedError);
    assert.match(error.message, /was encoded by model .* \([0-9a-f]{16}\).*available: none\./);
    return true;
  });
  assert.ok((await decode(data, [model])).samples.length > 0);
});

test("every changed byte of a payload gives an error or other symbols, and never hangs", async () => {
  // The checksums are repaired, so that the damage reaches the entropy coder.
  const file = parse(stream("two-tiles"));
  let refusals = 0;
  for (let at = 0; at < 200; at++) {
    const sections = file.sections.map((s) => ({ ...s, data: s.data.slice() }));
    const target = sections[at % sections.length].data;
    if (target.length === 0) continue;
    target[(7 * at) % target.length] ^= 1 + (at % 255);
    try {
      await readSymbols(model, { ...file, sections });
    } catch (error) {
      assert.ok(error instanceof BitstreamError, String(error));
      refusals += 1;
    }
  }
  assert.ok(refusals > 150, `${refusals}`);
});

for (const name of ["model.toml", "tables.npz", "synthesis.onnx"]) {
  test(`a damaged ${name} is one sentence`, async () => {
    const damage = (file, bytes) => (file === name ? bytes.map((b, i) => (i === 100 ? b ^ 255 : b)) : bytes);
    await assert.rejects(openModel(undefined, damage), (error) => {
      assert.ok(error instanceof ModelError, String(error));
      return true;
    });
  });
}

test("the worked example of the page decodes as it says", async () => {
  const page = readFileSync(new URL("../../docs/format.md", import.meta.url), "utf8");
  const block = (name) => new RegExp(`\`\`\`${name}\\n([^\`]*)\`\`\``).exec(page)[1];
  const bytes = block("file")
    .split("\n")
    .flatMap((line) => line.split("  ")[0].split(" "))
    .filter((word) => /^[0-9a-f]{2}$/.test(word));
  const file = parse(Uint8Array.from(bytes, (b) => Number.parseInt(b, 16)));
  assert.deepEqual([file.width, file.height, file.level, file.modelId], [100, 70, 75, "toy"]);
  assert.equal(file.streamId, "0123456789abcdef");
  const { Payload, Table } = await import("../dist/internals.js");
  const numbers = (text) => text.trim().split(/\s+/).map(Number);
  const values = new Int32Array(10);
  const payload = new Payload(file.sections[1].data);
  payload.read(new Table(numbers(block("frequencies")), 2), values, Int32Array.from(values.keys()), 0, 10);
  payload.finish();
  assert.deepEqual([...values], numbers(block("values")));
});
