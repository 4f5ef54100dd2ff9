/** The tables of a codec model, checked. Section 4 of docs/format.md. */

import { ModelError } from "./errors.js";
import { readNpz, type NumpyArray } from "./npz.js";
import { Table } from "./payload.js";

const NAMES = [
  "inverse_gain",
  "index_offset",
  "rate",
  "coarse",
  "hyper_group",
  "hyper_frequencies",
  "latent_reach",
  "latent_frequencies",
  "centroid",
] as const;

/** Everything of `tables.npz` that a decoder needs. L levels, M latents, N hyper-latents, T tables. */
export interface Tables {
  readonly levels: number;
  readonly latents: number;
  readonly hyperChannels: number;
  /** (L, M), the step of a residual. */
  readonly inverseGain: Float32Array;
  /** (L, M), added to the table index. */
  readonly indexOffset: Int16Array;
  /** (L), the level as an input of the synthesis. */
  readonly rate: Float32Array;
  /** (M), 1 for coarse channels. */
  readonly coarse: Uint8Array;
  /** (L), the set of hyper tables of a level. */
  readonly hyperGroup: Uint8Array;
  /** [group][channel] */
  readonly hyper: readonly (readonly Table[])[];
  /** (T) */
  readonly latent: readonly Table[];
  /** (T), or null for 0. */
  readonly centroid: Float32Array | null;
}

/** Parse `tables.npz`; throws `ModelError`. */
export function readTables(data: Uint8Array): Tables {
  const arrays = readNpz(data, NAMES);
  const get = <A>(name: string, kind: new (...args: never[]) => A, dims: number): NumpyArray & { values: A } => {
    const array = arrays.get(name);
    if (!(array?.values instanceof kind) || array.shape.length !== dims) {
      throw new ModelError(`The tables of the model have no valid array ${name}.`);
    }
    return array as NumpyArray & { values: A };
  };
  const inverseGain = get("inverse_gain", Float32Array, 2);
  const indexOffset = get("index_offset", Int16Array, 2);
  const rate = get("rate", Float32Array, 1);
  const coarse = get("coarse", Uint8Array, 1);
  const hyperGroup = get("hyper_group", Uint8Array, 1);
  const frequencies = get("hyper_frequencies", Uint32Array, 3);
  const reach = get("latent_reach", Uint16Array, 1);
  const latentFrequencies = get("latent_frequencies", Uint32Array, 1);
  const centroid = arrays.has("centroid") ? get("centroid", Float32Array, 1) : null;

  const [levels, latents] = inverseGain.shape;
  const [groups, hyperChannels, values] = frequencies.shape;
  const fits =
    same(indexOffset.shape, inverseGain.shape) &&
    same(rate.shape, [levels]) &&
    same(hyperGroup.shape, [levels]) &&
    same(coarse.shape, [latents]) &&
    values % 2 === 1 &&
    reach.shape[0] <= 256 &&
    hyperGroup.values.every((group) => group < groups) &&
    (centroid === null || same(centroid.shape, reach.shape)) &&
    [inverseGain, rate, ...(centroid === null ? [] : [centroid])].every((a) => a.values.every(Number.isFinite));
  const hyper = Array.from({ length: groups }, (_, g) =>
    Array.from({ length: hyperChannels }, (_, n) => {
      const at = (g * hyperChannels + n) * values;
      return new Table(frequencies.values.subarray(at, at + values), (values - 1) / 2);
    }),
  );
  let at = 0;
  const latent = Array.from(reach.values, (r) => {
    const size = 2 * r + 2;
    at += size;
    return new Table(latentFrequencies.values.subarray(at - size, at), r);
  });
  const valid = [...hyper.flat(), ...latent].every((table) => table.valid);
  if (!fits || at !== latentFrequencies.values.length || !valid) {
    throw new ModelError("The tables of the model are inconsistent.");
  }
  return {
    levels,
    latents,
    hyperChannels,
    inverseGain: inverseGain.values,
    indexOffset: indexOffset.values,
    rate: rate.values,
    coarse: coarse.values,
    hyperGroup: hyperGroup.values,
    hyper,
    latent,
    centroid: centroid?.values ?? null,
  };
}

function same(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length && one.every((side, i) => side === other[i]);
}
