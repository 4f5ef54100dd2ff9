/** From the sections of a file to its integers: z, the table of every latent, r. Steps 1 to 4 of the page. */

import { unzlibSync } from "fflate";
import {
  boxes,
  cells,
  COARSE,
  FINE,
  HYPER,
  LATENTS,
  LEVELS,
  ofKind,
  type Box,
  type Container,
} from "./container.js";
import { BitstreamError } from "./errors.js";
import type { Model } from "./model.js";
import { Payload } from "./payload.js";
import type { Tables } from "./tables.js";

/** The integers of a file, each in raster order. */
export interface Symbols {
  readonly rows: number;
  readonly columns: number;
  /** (rows, columns), the level of every cell. */
  readonly levels: Uint8Array;
  /** (N, rows, columns) */
  readonly z: Int32Array;
  /** (M, 4 rows, 4 columns), the number of the table of every latent. */
  readonly index: Uint8Array;
  /** (M, 4 rows, 4 columns) */
  readonly r: Int32Array;
}

/** Decode all integers; with `preview`, those of coarse channels only. */
export async function readSymbols(model: Model, file: Container, preview = false): Promise<Symbols> {
  const rows = cells(file.height);
  const columns = cells(file.width);
  const { tables } = model;
  const levels = levelMap(file, tables, rows * columns);
  const z = hyperLatents(file, tables, levels);
  const dims = [1, tables.hyperChannels, rows, columns];
  const [base] = await model.run("hyper_scale_index", [{ data: Float32Array.from(z), dims }]);
  const index = tableIndex(base.data, tables, levels, rows, columns);
  const r = residuals(file, tables, index, rows, columns, preview);
  return { rows, columns, levels, z, index, r };
}

function levelMap(file: Container, tables: Tables, count: number): Uint8Array {
  const known = (level: number) => level < tables.levels;
  if (!known(file.level)) throw damaged("its level is not one of the model");
  const [section] = ofKind(file, LEVELS);
  if (section === undefined) return new Uint8Array(count).fill(file.level);
  const content = inflate(section, count);
  if (content.length !== count || !content.every(known)) throw damaged("its levels are not valid");
  return content;
}

/** The content of a section that is one zlib stream of at most `most` bytes. */
export function inflate(section: Uint8Array, most: number): Uint8Array {
  try {
    // One byte more shows that there is more.
    const content = unzlibSync(section, { out: new Uint8Array(most + 1) });
    if (content.length <= most) return content;
  } catch {
    // not a zlib stream, or one that does not fit
  }
  throw damaged("a section cannot be unpacked");
}

function hyperLatents(file: Container, tables: Tables, levels: Uint8Array): Int32Array {
  const groups = levels.map((level) => tables.hyperGroup[level]);
  const z = new Int32Array(tables.hyperChannels * levels.length);
  const payload = new Payload(ofKind(file, HYPER)[0]);
  for (const group of [...new Set(groups)].sort((a, b) => a - b)) {
    const here = Int32Array.from(groups.keys()).filter((cell) => groups[cell] === group);
    tables.hyper[group].forEach((table, channel) => {
      const plane = z.subarray(channel * levels.length, (channel + 1) * levels.length);
      payload.read(table, plane, here, 0, here.length);
    });
  }
  payload.finish();
  return z;
}

function tableIndex(
  base: Float32Array,
  tables: Tables,
  levels: Uint8Array,
  rows: number,
  columns: number,
): Uint8Array {
  const index = new Uint8Array(base.length);
  const top = tables.latent.length - 1;
  forEachLatent(tables.latents, rows, columns, (at, channel, cell) => {
    const offset = tables.indexOffset[levels[cell] * tables.latents + channel];
    index[at] = Math.min(Math.max(base[at] + offset, 0), top);
  });
  return index;
}

/** Call `visit(place, channel, cell)` for every latent in raster order. */
export function forEachLatent(
  channels: number,
  rows: number,
  columns: number,
  visit: (at: number, channel: number, cell: number) => void,
): void {
  const [height, width] = [LATENTS * rows, LATENTS * columns];
  let at = 0;
  for (let channel = 0; channel < channels; channel++) {
    for (let y = 0; y < height; y++) {
      const row = (y >> 2) * columns;
      for (let x = 0; x < width; x++) visit(at++, channel, row + (x >> 2));
    }
  }
}

function residuals(
  file: Container,
  tables: Tables,
  index: Uint8Array,
  rows: number,
  columns: number,
  preview: boolean,
): Int32Array {
  const r = new Int32Array(index.length);
  const tiles = boxes(LATENTS * rows, LATENTS * columns, file.tile);
  for (const [kind, wanted] of preview ? [[COARSE, 1]] : [[COARSE, 1], [FINE, 0]]) {
    const channels = [...tables.coarse.keys()].filter((c) => tables.coarse[c] === wanted);
    ofKind(file, kind).forEach((section, number) => {
      const places = placesOf(tiles[number], channels, LATENTS * rows, LATENTS * columns);
      readSection(section, tables, index, places, r);
    });
  }
  return r;
}

/** The places in (M, height, width) of some channels of a tile, in raster order. */
function placesOf(box: Box, channels: number[], height: number, width: number): Int32Array {
  const places = new Int32Array(channels.length * (box.bottom - box.top) * (box.right - box.left));
  let i = 0;
  for (const channel of channels) {
    for (let y = box.top; y < box.bottom; y++) {
      for (let x = box.left; x < box.right; x++) places[i++] = (channel * height + y) * width + x;
    }
  }
  return places;
}

/** One group for every table, with the latents that use it in their order. */
function readSection(
  section: Uint8Array,
  tables: Tables,
  index: Uint8Array,
  places: Int32Array,
  r: Int32Array,
): void {
  const counts = new Int32Array(tables.latent.length + 1);
  for (const place of places) counts[index[place] + 1] += 1;
  for (let t = 0; t < tables.latent.length; t++) counts[t + 1] += counts[t];
  const sorted = new Int32Array(places.length);
  const next = counts.slice();
  for (const place of places) sorted[next[index[place]]++] = place;
  const payload = new Payload(section);
  tables.latent.forEach((table, t) => payload.read(table, r, sorted, counts[t], counts[t + 1] - counts[t]));
  payload.finish();
}

function damaged(problem: string): BitstreamError {
  return new BitstreamError(`The file cannot be decoded: ${problem}.`);
}
