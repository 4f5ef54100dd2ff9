/**
 * Decodes `.vae` images with onnxruntime-web.
 *
 *     import * as ort from "onnxruntime-web/wasm";
 *     import { decode, Model, toRgba } from "vaetools";
 *
 *     const model = await Model.open(ort, async (name) =>
 *       new Uint8Array(await (await fetch(`models/photo-codec/${name}`)).arrayBuffer()));
 *     const image = await decode(new Uint8Array(await file.arrayBuffer()), [model]);
 *     const pixels = new ImageData(toRgba(image), image.width, image.height);
 *
 * It is written from docs/format.md and shares no code with the Python package.
 */

import { ofKind, parse, SOURCE, type Container, type ParseOptions } from "./container.js";
import { UnsupportedError } from "./errors.js";
import { restoreLatents } from "./latents.js";
import type { Model } from "./model.js";
import { synthesise, toImage, type Image } from "./pixels.js";
import { readSymbols } from "./symbols.js";

export { parse, type Container } from "./container.js";
export { BitstreamError, ModelError, UnsupportedError } from "./errors.js";
export { Model, type ModelOptions, type ReadFile, type Runtime } from "./model.js";
export { toRgba, type Image } from "./pixels.js";
export { readSymbols, type Symbols } from "./symbols.js";

export interface DecodeOptions extends ParseOptions {
  /** Called with the share of the image that is ready, 0 … 1. */
  readonly progress?: (share: number) => void;
}

/** The source file in a stored `.vae`, or null if the image is coded. */
export function storedSource(file: Container): Uint8Array | null {
  return file.stored ? ofKind(file, SOURCE)[0] : null;
}

/** The model that can decode a file; throws `UnsupportedError`. */
export function modelFor(file: Container, models: readonly Model[]): Model {
  const model = models.find((m) => m.streamId === file.streamId);
  if (model === undefined) {
    const known = models.map((m) => `${m.id} (${m.streamId})`).join(", ") || "none";
    throw new UnsupportedError(
      `The file was encoded by model ${file.modelId} (${file.streamId}), which is not here; available: ${known}.`,
    );
  }
  return model;
}

/** Decode a file; throws `BitstreamError` or `UnsupportedError`. */
export async function decode(
  data: Uint8Array,
  models: readonly Model[],
  options: DecodeOptions = {},
): Promise<Image> {
  const file = parse(data, options);
  if (file.stored) {
    throw new UnsupportedError("The file holds a source file of another format; see storedSource.");
  }
  const model = modelFor(file, models);
  const symbols = await readSymbols(model, file, options.preview ?? false);
  const latents = await restoreLatents(model, symbols);
  return toImage(file, await synthesise(model, file, symbols, latents, options.progress));
}
