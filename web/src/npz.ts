/** Arrays of an `.npz` file: a zip archive of `.npy` files. Only the kinds that models use. */

import { unzipSync } from "fflate";
import { ModelError } from "./errors.js";

/** An array in raster order. */
export interface NumpyArray {
  readonly shape: readonly number[];
  readonly values: Float32Array | Uint8Array | Int16Array | Uint16Array | Uint32Array;
}

const KINDS = {
  "<f4": Float32Array,
  "|u1": Uint8Array,
  "|b1": Uint8Array,
  "<i2": Int16Array,
  "<u2": Uint16Array,
  "<u4": Uint32Array,
} as const;

/**
 * Read the named arrays.
 *
 * @param most bytes that a single array may have unpacked
 */
export function readNpz(data: Uint8Array, names: readonly string[], most = 2 ** 26): Map<string, NumpyArray> {
  const wanted = new Set(names.map((name) => `${name}.npy`));
  let files: Record<string, Uint8Array>;
  try {
    files = unzipSync(data, {
      filter: ({ name, originalSize }) => wanted.has(name) && originalSize <= most,
    });
  } catch {
    throw new ModelError("The tables of the model are not a zip archive.");
  }
  const found = new Map<string, NumpyArray>();
  for (const [name, content] of Object.entries(files)) {
    found.set(name.replace(/\.npy$/, ""), readNpy(content, name));
  }
  return found;
}

function readNpy(data: Uint8Array, name: string): NumpyArray {
  const broken = new ModelError(`The array ${name} of the model cannot be read.`);
  if (data.length < 12 || data[0] !== 0x93 || String.fromCharCode(...data.subarray(1, 6)) !== "NUMPY") {
    throw broken;
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [start, length] = data[6] === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const header = new TextDecoder("latin1").decode(data.subarray(start, start + length));
  const kind = /'descr': '([^']+)'/.exec(header)?.[1];
  const sides = /'shape': \(([\d, ]*)\)/.exec(header)?.[1];
  if (kind === undefined || sides === undefined || !(kind in KINDS) || header.includes("'fortran_order': True")) {
    throw broken;
  }
  const shape = sides.split(",").filter((side) => side.trim() !== "").map(Number);
  const Kind = KINDS[kind as keyof typeof KINDS];
  const count = shape.reduce((product, side) => product * side, 1);
  const body = data.slice(start + length); // a copy, aligned
  if (body.length !== count * Kind.BYTES_PER_ELEMENT) throw broken;
  return { shape, values: new Kind(body.buffer, 0, count) };
}
