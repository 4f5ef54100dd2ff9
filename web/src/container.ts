/**
 * The `.vae` container: header, section table, sections. Section 2 of docs/format.md, whose checks are
 * made in the order of that page. Nothing here knows networks or pixels.
 */

import { BitstreamError } from "./errors.js";

export const HYPER = 1;
export const COARSE = 2;
export const FINE = 3;
export const ALPHA = 4;
export const ICC = 5;
export const EXIF = 6;
export const LEVELS = 7;
export const SOURCE = 8;
export const XMP = 128;
export const IPTC = 129;
export const CICP = 130;
export const DENSITY = 131;

/** Kinds from here on are ancillary: no pixel depends on them, and unknown ones are skipped. */
const ANCILLARY = 128;

/** Pixels per side of a cell. */
export const CELL = 64;

/** Latents per side of a cell. */
export const LATENTS = 4;

/** The largest image that is decoded unless the caller allows more. */
export const MAX_PIXELS = 2 ** 28;

const MAGIC = 0x45415689; // 89 56 41 45, little-endian
const MIN_PADDED_PIXELS = 2 ** 24;
const NEEDED_FOR_PREVIEW = [LEVELS, HYPER, COARSE, SOURCE];
const AT_MOST_ONCE = [ALPHA, ICC, EXIF, LEVELS, XMP, IPTC, CICP, DENSITY];

export interface Section {
  readonly kind: number;
  readonly data: Uint8Array;
}

/** The fields of the header, and the sections in their order. */
export interface Container {
  readonly width: number;
  readonly height: number;
  /** Bits per sample: 8, 16, or 32 for floats. */
  readonly depth: number;
  readonly grey: boolean;
  /** The file holds the source file of the image. */
  readonly stored: boolean;
  readonly level: number;
  /** Side of an entropy-coded tile in latents. */
  readonly tile: number;
  /** 16 hexadecimal digits. */
  readonly streamId: string;
  readonly modelId: string;
  readonly sections: readonly Section[];
}

/** A rectangle of latents or cells; `bottom` and `right` are outside. */
export interface Box {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

export interface ParseOptions {
  readonly maxPixels?: number;
  /** Accept a file of which only the beginning is there. */
  readonly preview?: boolean;
}

/** The content of all sections of a kind. */
export function ofKind(container: Container, kind: number): Uint8Array[] {
  return container.sections.filter((s) => s.kind === kind).map((s) => s.data);
}

/** Cells of 64 pixels that cover so many pixels. */
export function cells(pixels: number): number {
  return Math.ceil(pixels / CELL);
}

/** Squares of `side` that cover a grid, in raster order; the last of a row or column may be smaller. */
export function boxes(rows: number, columns: number, side: number): Box[] {
  const found: Box[] = [];
  for (let top = 0; top < rows; top += side) {
    for (let left = 0; left < columns; left += side) {
      found.push({
        top,
        bottom: Math.min(top + side, rows),
        left,
        right: Math.min(left + side, columns),
      });
    }
  }
  return found;
}

/** Parse a file and check it; throws `BitstreamError`. */
export function parse(data: Uint8Array, options: ParseOptions = {}): Container {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  require(data.length >= 4 && view.getUint32(0, true) === MAGIC, "it is not a .vae file");
  require(data.length >= 27, "it ends inside its header");
  const version = data[4];
  require(version === 2 || version === 3, `it has version ${version}; this decoder knows versions 2 and 3`);
  const nameEnd = 27 + data[26];
  require(data.length >= nameEnd + 2, "it ends inside its header");
  const count = view.getUint16(nameEnd, true);
  const tableEnd = nameEnd + 2 + 9 * count;
  require(data.length >= tableEnd + 4, "it ends inside its section table");
  require(
    view.getUint32(tableEnd, true) === crc32(data.subarray(0, tableEnd)),
    "the checksum of its header is wrong",
  );
  const header = readHeader(data, view, nameEnd, options.maxPixels ?? MAX_PIXELS);
  const entries = Array.from({ length: count }, (_, i) => {
    const at = nameEnd + 2 + 9 * i;
    return { kind: data[at], length: view.getUint32(at + 1, true), crc: view.getUint32(at + 5, true) };
  });
  const kinds = entries.map((entry) => entry.kind);
  require((version === 3) === kinds.some((kind) => kind >= ANCILLARY), "its version is not that of its sections");
  checkKinds(kinds, header);
  const end = entries.reduce((sum, entry) => sum + entry.length, tableEnd + 4);
  require(data.length <= end, "it has bytes after its end");
  require(data.length === end || options.preview === true, "it is truncated");
  const sections: Section[] = [];
  let at = tableEnd + 4;
  for (const { kind, length, crc } of entries) {
    const part = data.subarray(at, at + length);
    at += length;
    if (at <= data.length) {
      require(crc32(part) === crc, "the checksum of a section is wrong");
      sections.push({ kind, data: part });
    } else {
      require(!NEEDED_FOR_PREVIEW.includes(kind), "it is too short for a preview");
    }
  }
  return { ...header, sections };
}

type Header = Omit<Container, "sections">;

function readHeader(data: Uint8Array, view: DataView, nameEnd: number, maxPixels: number): Header {
  const [depth, flags, level] = data.subarray(5, 8);
  const width = view.getUint32(8, true);
  const height = view.getUint32(12, true);
  const tile = view.getUint16(16, true);
  require(width >= 1 && height >= 1, "it has no pixels");
  require(
    width * height <= maxPixels,
    `it has ${Math.ceil((width * height) / 1e6)} megapixels, more than the limit of ${Math.floor(maxPixels / 1e6)}`,
  );
  const padded = cells(width) * CELL * cells(height) * CELL;
  require(padded <= 2 * Math.max(maxPixels, MIN_PADDED_PIXELS), "its sides are too unequal");
  require(depth === 8 || depth === 16 || depth === 32, `its depth ${depth} is unknown`);
  require(flags < 4, "it has flags that this decoder does not know");
  require(tile >= 4 && tile <= 128 && tile % 4 === 0, `its tile size ${tile} is not valid`);
  const modelId = String.fromCharCode(...data.subarray(27, nameEnd));
  require(/^[a-z0-9][a-z0-9._-]{0,62}$/.test(modelId), "its model id is not valid");
  const streamId = [...data.subarray(18, 26)].map((b) => b.toString(16).padStart(2, "0")).join("");
  const grey = (flags & 1) !== 0;
  const stored = (flags & 2) !== 0;
  return { width, height, depth, grey, stored, level, tile, streamId, modelId };
}

function checkKinds(kinds: number[], header: Header): void {
  const count = (kind: number) => kinds.filter((k) => k === kind).length;
  const known = kinds.filter((kind) => kind <= DENSITY);
  require(
    known.every((kind) => (kind >= HYPER && kind <= SOURCE) || kind >= ANCILLARY),
    "it has a section of an unknown kind",
  );
  if (header.stored) {
    require(known.length === 1 && known[0] === SOURCE, "a stored file has one section only");
    return;
  }
  const rows = cells(header.height) * LATENTS;
  const columns = cells(header.width) * LATENTS;
  const tiles = Math.ceil(rows / header.tile) * Math.ceil(columns / header.tile);
  require(count(COARSE) === tiles && count(FINE) === tiles, "its number of tiles is wrong");
  require(count(HYPER) === 1, "its hyper-latents are missing");
  require(
    AT_MOST_ONCE.every((kind) => count(kind) <= 1) && count(SOURCE) === 0,
    "it has a section too many",
  );
}

/** CRC-32 of zlib and PNG. */
export function crc32(data: Uint8Array): number {
  let crc = ~0;
  for (const byte of data) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  let value = n;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function require(holds: boolean, problem: string): asserts holds {
  if (!holds) throw new BitstreamError(`The file cannot be decoded: ${problem}.`);
}
