/** What the page and its worker say to each other. */

export interface Request {
  readonly number: number;
  readonly data: Uint8Array;
}

export interface Facts {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly grey: boolean;
  readonly alpha: boolean;
  readonly model: string;
  readonly level: number | null;
  readonly seconds: number;
}

export type Reply =
  | { readonly number: number; readonly kind: "progress"; readonly share: number }
  | { readonly number: number; readonly kind: "image"; readonly rgba: Uint8ClampedArray<ArrayBuffer>; readonly facts: Facts }
  | { readonly number: number; readonly kind: "stored"; readonly source: Uint8Array<ArrayBuffer>; readonly facts: Facts }
  | { readonly number: number; readonly kind: "error"; readonly message: string };
