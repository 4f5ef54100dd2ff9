// Files that Python wrote: the same integers, and pixels within one step of 8 bits.
import assert from "node:assert/strict";
import { test } from "node:test";
import { decode as decodePng } from "fast-png";
import { decode, parse, readSymbols, storedSource } from "../dist/vaetools.js";
import { digest, GOLDEN, known, NAMES, openModel, read, stream } from "./helpers.mjs";

const model = await openModel();

for (const name of NAMES.filter((n) => n !== "stored")) {
  test(`the integers of ${name} are those of Python`, async () => {
    const symbols = await readSymbols(model, parse(stream(name)));
    const wanted = known(name);
    for (const part of ["z", "index", "r"]) assert.equal(digest(symbols[part]), wanted[part], part);
  });

  test(`the pixels of ${name} are those of Python`, async () => {
    const image = await decode(stream(name), [model]);
    const wanted = decodePng(read(new URL(`streams/${name}.png`, GOLDEN)));
    assert.deepEqual([image.width, image.height], [wanted.width, wanted.height]);
    const scale = image.depth === 32 ? 1 : 2 ** image.depth - 1;
    const wantedScale = 2 ** wanted.depth - 1;
    const count = image.width * image.height;
    for (let i = 0; i < count; i++) {
      for (let c = 0; c < image.channels; c++) {
        const found = image.samples[i * image.channels + c] / scale;
        const there = wanted.data[i * wanted.channels + c] / wantedScale;
        assert.ok(Math.abs(found - there) <= 1 / 255 + 2 / 65535, `pixel ${i}: ${found}, ${there}`);
      }
      if (image.alpha !== null) {
        assert.equal(image.alpha[i], wanted.data[(i + 1) * wanted.channels - 1]);
      }
    }
  });
}

test("a stored file gives its source", () => {
  const source = storedSource(parse(stream("stored")));
  assert.equal(new TextDecoder().decode(source.subarray(1, 4)), "PNG");
  assert.equal(storedSource(parse(stream("grey"))), null);
});

test("a preview needs the beginning only", async () => {
  const data = stream("levels");
  const whole = await decode(data, [model]);
  const rough = await decode(data, [model], { preview: true });
  assert.equal(rough.samples.length, whole.samples.length);
  assert.notDeepEqual(rough.samples, whole.samples);
});
