/** Decodes off the page's thread, so that the page stays responsive. */

import * as ort from "onnxruntime-web/wasm";
import { BitstreamError, decode, Model, ModelError, parse, storedSource, toRgba, UnsupportedError } from "../src/index.js";
import type { Facts, Reply, Request } from "./messages.js";

/** Larger images take more memory than a browser gives to a page. */
const MAX_PIXELS = 40e6;

const post = (reply: Reply, transfer: Transferable[] = []): void =>
  (self as unknown as { postMessage(message: Reply, transfer: Transferable[]): void }).postMessage(reply, transfer);

let models: Promise<Model[]> | undefined;

self.onmessage = ({ data: { number, data } }: MessageEvent<Request>) => {
  queue = queue.then(() => answer(number, data));
};
let queue: Promise<void> = Promise.resolve();

async function answer(number: number, data: Uint8Array): Promise<void> {
  try {
    const start = performance.now();
    const file = parse(data, { maxPixels: MAX_PIXELS });
    const facts = (): Facts => ({
      width: file.width,
      height: file.height,
      depth: file.depth,
      grey: file.grey,
      alpha: file.sections.some((section) => section.kind === 4),
      model: file.modelId,
      level: file.stored ? null : file.level,
      seconds: (performance.now() - start) / 1000,
    });
    const source = storedSource(file);
    if (source !== null) {
      const copy = source.slice();
      post({ number, kind: "stored", source: copy, facts: facts() }, [copy.buffer]);
      return;
    }
    models ??= openModels();
    const image = await decode(data, await models, {
      maxPixels: MAX_PIXELS,
      progress: (share) => post({ number, kind: "progress", share }),
    });
    const rgba = toRgba(image);
    post({ number, kind: "image", rgba, facts: facts() }, [rgba.buffer]);
  } catch (error) {
    post({ number, kind: "error", message: sentence(error) });
  }
}

function sentence(error: unknown): string {
  const known = [BitstreamError, UnsupportedError, ModelError].some((kind) => error instanceof kind);
  if (known) return (error as Error).message;
  if (error instanceof RangeError) return "The image needs more memory than this browser gives to a page.";
  return `The file cannot be decoded here: ${error instanceof Error ? error.message : String(error)}.`;
}

async function openModels(): Promise<Model[]> {
  if (!WebAssembly.validate(SIMD)) {
    throw new UnsupportedError("This browser's WebAssembly has no SIMD instructions; use a newer browser.");
  }
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 8) : 1;
  ort.env.logLevel = "error";
  // Threads of ONNX Runtime load this script as well, so it is a file of its own.
  ort.env.wasm.wasmPaths = { mjs: new URL("ort.mjs", import.meta.url).href };
  ort.env.wasm.wasmBinary = await unpacked("ort.wasm.gz");
  const folders = JSON.parse(new TextDecoder().decode(await get("models/index.json"))) as string[];
  return Promise.all(folders.map((folder) => Model.open(ort, (name) => get(`models/${folder}/${name}`))));
}

async function get(path: string): Promise<Uint8Array> {
  const response = await fetch(path);
  if (!response.ok) throw new ModelError(`The page is incomplete: ${path} is missing.`);
  return new Uint8Array(await response.arrayBuffer());
}

async function unpacked(path: string): Promise<ArrayBuffer> {
  const packed = await get(path);
  const stream = new Blob([packed as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** A module with one SIMD instruction: i8x16.splat. */
const SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
);
