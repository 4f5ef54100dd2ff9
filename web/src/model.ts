/** A codec model: its manifest, its tables, and its graphs as sessions of ONNX Runtime. */

import { parse as parseToml } from "smol-toml";
import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-web";
import { ModelError } from "./errors.js";
import { readTables, type Tables } from "./tables.js";

/** What this module uses of onnxruntime-web, so that the caller chooses the build. */
export interface Runtime {
  InferenceSession: { create(data: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession> };
  Tensor: new (type: "float32", data: Float32Array, dims: readonly number[]) => OrtTensor;
}

/** An array of float32 in raster order. */
export interface Tensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** Reads a file of the model's folder by name. */
export type ReadFile = (name: string) => Promise<Uint8Array>;

export interface ModelOptions {
  /** Execution providers, in order of preference, of the graphs that need not be exact. */
  readonly providers?: readonly string[];
}

interface FileSpec {
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

interface GraphSpec extends FileSpec {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly exact?: boolean;
}

interface Manifest {
  readonly id: string;
  readonly graphs: Readonly<Record<string, GraphSpec>>;
  /** Weights that several graphs share. */
  readonly weights?: FileSpec;
  readonly files: Readonly<Record<string, FileSpec>>;
  readonly tiling: { readonly halo: number };
  readonly codec: { readonly stream_id: string; readonly levels: number; readonly context?: string };
}

/** What decodes the files of one stream id. */
export class Model {
  readonly id: string;
  readonly streamId: string;
  readonly context: "interleaved" | "grid";
  /** Pixels around a tile of the synthesis that its result depends on. */
  readonly halo: number;
  readonly tables: Tables;
  private readonly sessions = new Map<string, Promise<InferenceSession>>();

  private constructor(
    private readonly ort: Runtime,
    private readonly manifest: Manifest,
    private readonly graphs: ReadonlyMap<string, Uint8Array>,
    private readonly weights: Uint8Array | null,
    tables: Tables,
    private readonly options: ModelOptions,
  ) {
    this.id = manifest.id;
    this.streamId = manifest.codec.stream_id;
    this.context = manifest.codec.context === "grid" ? "grid" : "interleaved";
    this.halo = manifest.tiling.halo;
    this.tables = tables;
  }

  /** Read a model folder. All files are compared with the manifest's SHA-256. */
  static async open(ort: Runtime, read: ReadFile, options: ModelOptions = {}): Promise<Model> {
    const manifest = readManifest(new TextDecoder().decode(await read("model.toml")));
    const tables = await verified(read, manifest.files.tables);
    const roles = needed(manifest);
    const graphs = await Promise.all(
      roles.map(async (role) => [role, await verified(read, manifest.graphs[role])] as const),
    );
    const weights = manifest.weights ? await verified(read, manifest.weights) : null;
    const model = new Model(ort, manifest, new Map(graphs), weights, readTables(tables), options);
    if (model.tables.levels !== manifest.codec.levels) {
      throw new ModelError("The tables of the model do not fit its manifest.");
    }
    return model;
  }

  /** Run a graph; its inputs and outputs are in the order of the manifest. */
  async run(role: string, inputs: readonly Tensor[]): Promise<Tensor[]> {
    const spec = this.manifest.graphs[role];
    const session = await this.session(role);
    const feeds: Record<string, OrtTensor> = {};
    inputs.forEach(({ data, dims }, i) => {
      feeds[spec.inputs[i]] = new this.ort.Tensor("float32", data, dims);
    });
    const found = await session.run(feeds);
    return spec.outputs.map((name) => {
      const { data, dims } = found[name];
      if (!(data instanceof Float32Array)) throw new ModelError(`The graph ${role} returns no floats.`);
      return { data, dims };
    });
  }

  private session(role: string): Promise<InferenceSession> {
    const known = this.sessions.get(role);
    if (known !== undefined) return known;
    // GPUs may compute with fewer bits than integers in float32 need.
    const providers = this.manifest.graphs[role].exact ? ["wasm"] : (this.options.providers ?? ["wasm"]);
    const { weights, manifest } = this;
    const shared = weights && manifest.weights ? [{ path: manifest.weights.file, data: weights }] : [];
    const options = { executionProviders: [...providers], externalData: shared };
    const made = alone(() => this.ort.InferenceSession.create(this.graphs.get(role)!, options));
    this.sessions.set(role, made);
    return made;
  }
}

let opening: Promise<unknown> = Promise.resolve();

/** Open one session after another: onnxruntime-web keeps the weights that it is given by name, for all at once. */
function alone<T>(open: () => Promise<T>): Promise<T> {
  const made = opening.then(open);
  opening = made.catch(() => undefined);
  return made;
}

function needed(manifest: Manifest): string[] {
  const context = manifest.codec.context === "grid" ? ["context_1", "context_2", "context_3"] : ["context_mean"];
  const roles = ["hyper_scale_index", "hyper_mean", ...context, "synthesis"];
  const missing = roles.filter((role) => !(role in manifest.graphs));
  if (missing.length > 0) throw new ModelError(`The model has no graph ${missing.join(", ")}.`);
  return roles;
}

function readManifest(text: string): Manifest {
  let manifest: Partial<Manifest>;
  try {
    manifest = parseToml(text) as unknown as Partial<Manifest>;
  } catch {
    throw new ModelError("The model's manifest is not valid TOML.");
  }
  if (!manifest.codec || !manifest.graphs || !manifest.files?.tables || manifest.tiling?.halo === undefined) {
    throw new ModelError("The model is not a codec.");
  }
  return manifest as Manifest;
}

async function verified(read: ReadFile, spec: FileSpec): Promise<Uint8Array> {
  const data = await read(spec.file);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data as Uint8Array<ArrayBuffer>));
  const found = [...digest].map((b) => b.toString(16).padStart(2, "0")).join("");
  if (data.length !== spec.bytes || found !== spec.sha256) {
    throw new ModelError(`The file ${spec.file} of the model is damaged.`);
  }
  return data;
}
