// Damaged files and models: one sentence each, never an image.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { BitstreamError, decode, ModelError, parse, readSymbols, storedSource, UnsupportedError } from "../dist/vaetools.js";
import { crc32, Payload, Table } from "../dist/internals.js";
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

/** A file with further sections, with all checksums right. */
function withSections(bytes, version, added) {
  const file = parse(bytes);
  const sections = [...file.sections, ...added];
  const nameEnd = 27 + bytes[26];
  const head = new Uint8Array(nameEnd + 2 + 9 * sections.length);
  head.set(bytes.subarray(0, nameEnd));
  head[4] = version;
  const view = new DataView(head.buffer);
  view.setUint16(nameEnd, sections.length, true);
  sections.forEach(({ kind, data: content }, i) => {
    const at = nameEnd + 2 + 9 * i;
    head[at] = kind;
    view.setUint32(at + 1, content.length, true);
    view.setUint32(at + 5, crc32(content), true);
  });
  const crc = new Uint8Array(4);
  new DataView(crc.buffer).setUint32(0, crc32(head), true);
  return Uint8Array.from([...head, ...crc, ...sections.flatMap((s) => [...s.data])]);
}

test("ancillary sections are skipped where they are unknown, and make a file version 3", () => {
  const grey = stream("grey");
  const extra = [{ kind: 200, data: Uint8Array.of(1, 2, 3) }, { kind: 200, data: new Uint8Array() }];
  assert.equal(parse(withSections(grey, 3, extra)).sections.length, parse(grey).sections.length + 2);
  assert.deepEqual(withSections(grey, 2, []), grey);
  refused(withSections(grey, 2, extra));
  refused(withSections(grey, 3, []));
  refused(withSections(grey, 3, [{ kind: 100, data: new Uint8Array() }]));
  refused(withSections(grey, 3, [130, 130].map((kind) => ({ kind, data: new Uint8Array(4) }))));
  assert.ok(storedSource(parse(withSections(stream("stored"), 3, extra))).length > 0);
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
  const numbers = (text) => text.trim().split(/\s+/).map(Number);
  const values = new Int32Array(10);
  const payload = new Payload(file.sections[1].data);
  payload.read(new Table(numbers(block("frequencies")), 2), values, Int32Array.from(values.keys()), 0, 10);
  payload.finish();
  assert.deepEqual([...values], numbers(block("values")));
});
