/** What can be wrong with a file or a model. The messages are sentences for users. */

/** Bytes that are not a valid `.vae` file. */
export class BitstreamError extends Error {
  override name = "BitstreamError";
}

/** A valid file that needs another model, or something that this decoder does not handle. */
export class UnsupportedError extends Error {
  override name = "UnsupportedError";
}

/** A model folder that is incomplete, damaged or inconsistent. */
export class ModelError extends Error {
  override name = "ModelError";
}
