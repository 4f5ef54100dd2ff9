/** From integers to latents: the means of the four phases. Step 5 of the page. */

import type { Model, Tensor } from "./model.js";
import { forEachLatent, type Symbols } from "./symbols.js";

/** (row, column) of each phase of a grid context in every 2 × 2 square of latents. */
const PLACES = [
  [0, 0],
  [1, 1],
  [0, 1],
  [1, 0],
] as const;

/** ŷ, (1, M, 4 rows, 4 columns). */
export async function restoreLatents(model: Model, symbols: Symbols): Promise<Tensor> {
  const { rows, columns, z } = symbols;
  const dims = [1, model.tables.hyperChannels, rows, columns];
  const [first] = await model.run("hyper_mean", [{ data: Float32Array.from(z), dims }]);
  const offsets = offsetsOf(model, symbols);
  return model.context === "grid"
    ? onGrid(model, first, offsets)
    : interleaved(model, first, offsets);
}

/** ŷ − mean, before the factors of a grid context: (M, 4 rows, 4 columns). */
function offsetsOf(model: Model, { rows, columns, levels, index, r }: Symbols): Float32Array {
  const { latents, inverseGain, centroid } = model.tables;
  const offsets = new Float32Array(r.length);
  forEachLatent(latents, rows, columns, (at, channel, cell) => {
    const inward = centroid === null ? 0 : Math.sign(r[at]) * centroid[index[at]];
    offsets[at] = (r[at] - inward) * inverseGain[levels[cell] * latents + channel];
  });
  return offsets;
}

async function interleaved(model: Model, first: Tensor, offsets: Float32Array): Promise<Tensor> {
  const [, channels, height, width] = first.dims;
  const phase = new Uint8Array(offsets.length);
  for (let c = 0, at = 0; c < channels; c++) {
    const q = Math.floor((4 * c) / channels);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) phase[at++] = 2 * ((y + x + (q >> 1)) & 1) + ((y + q) & 1);
    }
  }
  const mean = first.data.slice();
  const known = new Float32Array(offsets.length);
  for (let p = 0; p < 4; p++) {
    const better =
      p === 0 ? first : (await model.run("context_mean", [{ data: known, dims: first.dims }, first]))[0];
    for (let at = 0; at < phase.length; at++) {
      if (phase[at] === p) {
        mean[at] = better.data[at];
        known[at] = mean[at] + offsets[at];
      }
    }
  }
  return { data: known, dims: first.dims };
}

async function onGrid(model: Model, first: Tensor, offsets: Float32Array): Promise<Tensor> {
  const [, channels, height, width] = first.dims;
  const dims = [1, channels, height / 2, width / 2];
  const whole = { data: offsets, dims: first.dims };
  const known: Float32Array[] = [];
  let features: Tensor[] = [];
  for (const [p, place] of PLACES.entries()) {
    let mean: Tensor = { data: taken(first, place), dims };
    let factor: Tensor | undefined;
    if (p > 0) {
      const former = { data: joined(known), dims: [1, p * channels, dims[2], dims[3]] };
      const found = await model.run(`context_${p}`, [former, mean, ...features]);
      mean = found[0];
      factor = found.length === 3 ? found[1] : undefined;
      features = [found[found.length - 1]];
    }
    const steps = taken(whole, place);
    known.push(steps.map((step, i) => mean.data[i] + step * (factor?.data[i] ?? 1)));
  }
  const latents = new Float32Array(offsets.length);
  PLACES.forEach((place, p) => put(latents, first.dims, place, known[p]));
  return { data: latents, dims: first.dims };
}

/** Every second row and column of each channel. */
function taken({ data, dims }: Tensor, [top, left]: readonly [number, number]): Float32Array {
  const [, channels, height, width] = dims;
  const found = new Float32Array((channels * height * width) / 4);
  let i = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = top; y < height; y += 2) {
      for (let x = left; x < width; x += 2) found[i++] = data[(c * height + y) * width + x];
    }
  }
  return found;
}

function put(
  into: Float32Array,
  dims: readonly number[],
  [top, left]: readonly [number, number],
  values: Float32Array,
): void {
  const [, channels, height, width] = dims;
  let i = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = top; y < height; y += 2) {
      for (let x = left; x < width; x += 2) into[(c * height + y) * width + x] = values[i++];
    }
  }
}

function joined(parts: Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A part of a (1, C, height, width) tensor. */
export function cut({ data, dims }: Tensor, top: number, bottom: number, left: number, right: number): Tensor {
  const [, channels, height, width] = dims;
  const found = new Float32Array(channels * (bottom - top) * (right - left));
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = top; y < bottom; y++) {
      const row = (c * height + y) * width;
      found.set(data.subarray(row + left, row + right), at);
      at += right - left;
    }
  }
  return { data: found, dims: [1, channels, bottom - top, right - left] };
}

