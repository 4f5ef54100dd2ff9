/** From latents to samples. Steps 6 to 8 of the page. */

import { decode as decodePng } from "fast-png";
import { ALPHA, boxes, CELL, LATENTS, ofKind, type Box, type Container } from "./container.js";
import { BitstreamError } from "./errors.js";
import { cut } from "./latents.js";
import type { Model, Tensor } from "./model.js";
import type { Symbols } from "./symbols.js";

/** Cells per side of a tile of the synthesis. */
const TILE = 16;

/** Rates per side of a cell. */
const RATES = 8;

/** A decoded image. */
export interface Image {
  readonly width: number;
  readonly height: number;
  /** 1 or 3 */
  readonly channels: number;
  /** 8, 16, or 32 for floats in 0 … 1 */
  readonly depth: number;
  /** (height, width, channels) in raster order; RGB. */
  readonly samples: Uint8Array | Uint16Array | Float32Array;
  /** (height, width), straight, in the range of the samples; null without alpha. */
  readonly alpha: Uint8Array | Uint16Array | null;
}

/** RGB in 0 … 1, (height, width, 3): the synthesis, tile by tile. */
export async function synthesise(
  model: Model,
  file: Container,
  symbols: Symbols,
  latents: Tensor,
  progress?: (share: number) => void,
): Promise<Float32Array> {
  const { rows, columns } = symbols;
  const rgb = new Float32Array(3 * file.width * file.height);
  const halo = Math.ceil(model.halo / CELL);
  const tiles = boxes(rows, columns, TILE);
  for (const [done, tile] of tiles.entries()) {
    const outer = {
      top: Math.max(tile.top - halo, 0),
      bottom: Math.min(tile.bottom + halo, rows),
      left: Math.max(tile.left - halo, 0),
      right: Math.min(tile.right + halo, columns),
    };
    const part = cut(
      latents,
      LATENTS * outer.top,
      LATENTS * outer.bottom,
      LATENTS * outer.left,
      LATENTS * outer.right,
    );
    const [image] = await model.run("synthesis", [part, rateOf(model, symbols, outer)]);
    place(rgb, file, image, tile, outer);
    progress?.((done + 1) / tiles.length);
  }
  return rgb;
}

/** The rate input: one number if all levels of the image are equal, else one for every 8 × 8 pixels. */
function rateOf(model: Model, { levels, columns }: Symbols, box: Box): Tensor {
  const { rate } = model.tables;
  if (levels.every((level) => level === levels[0])) {
    return { data: Float32Array.of(rate[levels[0]]), dims: [1, 1, 1, 1] };
  }
  const height = RATES * (box.bottom - box.top);
  const width = RATES * (box.right - box.left);
  const data = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const cell = (box.top + (y >> 3)) * columns + box.left + (x >> 3);
      data[y * width + x] = rate[levels[cell]];
    }
  }
  return { data, dims: [1, 1, height, width] };
}

/** Copy the tile, without its surroundings, into the image; clamped to 0 … 1. */
function place(rgb: Float32Array, file: Container, { data, dims }: Tensor, tile: Box, outer: Box): void {
  const [, , height, width] = dims;
  const bottom = Math.min(CELL * tile.bottom, file.height);
  const right = Math.min(CELL * tile.right, file.width);
  for (let y = CELL * tile.top; y < bottom; y++) {
    for (let x = CELL * tile.left; x < right; x++) {
      const from = (y - CELL * outer.top) * width + x - CELL * outer.left;
      const to = 3 * (y * file.width + x);
      for (let c = 0; c < 3; c++) {
        rgb[to + c] = Math.min(Math.max(data[c * height * width + from], 0), 1);
      }
    }
  }
}

/** The samples of a file, in its depth. */
export function toImage(file: Container, rgb: Float32Array): Image {
  const { width, height, depth } = file;
  const channels = file.grey ? 1 : 3;
  const values = file.grey ? luma(rgb) : rgb;
  const alpha = readAlpha(file);
  if (depth === 32) return { width, height, channels, depth, samples: values, alpha };
  const top = 2 ** depth - 1;
  const samples = depth === 8 ? new Uint8Array(values.length) : new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) samples[i] = Math.floor(values[i] * top + 0.5);
  return { width, height, channels, depth, samples, alpha };
}

function luma(rgb: Float32Array): Float32Array {
  const grey = new Float32Array(rgb.length / 3);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = 0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2];
  }
  return grey;
}

function readAlpha(file: Container): Uint8Array | Uint16Array | null {
  const [section] = ofKind(file, ALPHA);
  if (section === undefined) return null;
  try {
    const { width, height, channels, data, depth } = decodePng(section, { checkCrc: true });
    const wanted = file.depth === 8 ? 8 : 16;
    const fits = width === file.width && height === file.height && channels === 1 && depth === wanted;
    if (fits && !(data instanceof Uint8ClampedArray)) return data;
  } catch {
    // below
  }
  throw new BitstreamError("The file cannot be decoded: its alpha channel is damaged.");
}

/** 8-bit RGBA for a canvas. */
export function toRgba(image: Image): Uint8ClampedArray<ArrayBuffer> {
  const { channels, samples, alpha } = image;
  const scale = image.depth === 8 ? 1 : image.depth === 16 ? 255 / 65535 : 255;
  const alphaScale = alpha instanceof Uint16Array ? 255 / 65535 : 1;
  const count = image.width * image.height;
  const rgba = new Uint8ClampedArray(4 * count);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = samples[i * channels + (channels === 3 ? c : 0)] * scale;
    rgba[4 * i + 3] = alpha === null ? 255 : alpha[i] * alphaScale;
  }
  return rgba;
}
