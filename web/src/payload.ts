/**
 * Payloads: the entropy coder. Section 3 of docs/format.md.
 *
 * The state of the coder has 64 bits. It is kept as two numbers below 2^32, and all products are split
 * so that they stay below 2^53, where the numbers of JavaScript are exact integers.
 */

import { BitstreamError } from "./errors.js";

const TWO_32 = 2 ** 32;
const QUANTILES = 2 ** 24;

/** Integer frequencies of the symbols that stand for −reach … reach, and perhaps of an escape. */
export class Table {
  /** `starts[i]` is the sum of the frequencies before symbol i; one entry more than symbols. */
  readonly starts: Int32Array;
  readonly reach: number;

  constructor(frequencies: ArrayLike<number>, reach: number) {
    this.reach = reach;
    this.starts = new Int32Array(frequencies.length + 1);
    for (let i = 0; i < frequencies.length; i++) this.starts[i + 1] = this.starts[i] + frequencies[i];
  }

  /** Whether every frequency is at least 1 and their sum is 2^24. */
  get valid(): boolean {
    const { starts } = this;
    return starts.at(-1) === QUANTILES && starts.every((s, i) => i === 0 || s > starts[i - 1]);
  }

  /** The symbol that owns a quantile, by bisection. */
  symbolAt(quantile: number): number {
    let low = 0;
    let high = this.starts.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.starts[middle] <= quantile) low = middle;
      else high = middle;
    }
    return low;
  }
}

/** Reads the integers of a payload; throws `BitstreamError`. */
export class Payload {
  private high = 0;
  private low = 0;
  private readonly escaped: number[] = [];
  private nextEscaped = 0;
  private readonly words: DataView;
  /** Words that have not been read; they are taken from the end. */
  private left: number;

  constructor(data: Uint8Array) {
    const [length, start] = readLeb128(data, 0);
    const end = start + length;
    if (end > data.length || (data.length - end) % 4 !== 0) throw damaged("a payload has a wrong length");
    let at = start;
    while (at < end) {
      const [code, next] = readLeb128(data.subarray(0, end), at);
      this.escaped.push(code % 2 === 0 ? code / 2 : -(code + 1) / 2);
      at = next;
    }
    this.words = new DataView(data.buffer, data.byteOffset + end, data.length - end);
    this.left = this.words.byteLength / 4;
    if (this.left > 0 && this.words.getUint32(4 * (this.left - 1), true) === 0) {
      throw damaged("a payload ends in a zero word");
    }
    while (this.left > 0 && this.high === 0) this.refill();
  }

  /** Decode the next `count` values into `values[places[from]]`, `values[places[from + 1]]`, … */
  read(table: Table, values: Int32Array, places: Int32Array, from: number, count: number): void {
    const { starts, reach } = table;
    const escape = 2 * reach + 1;
    for (let i = from; i < from + count; i++) {
      const quantile = this.low % QUANTILES;
      const symbol = table.symbolAt(quantile);
      this.advance(quantile - starts[symbol], starts[symbol + 1] - starts[symbol]);
      values[places[i]] = symbol === escape ? this.escapedValue(reach) : symbol - reach;
    }
  }

  /** Check that everything was read. */
  finish(): void {
    const read = this.left === 0 && this.nextEscaped === this.escaped.length;
    if (this.high !== 0 || this.low !== 0 || !read) {
      throw damaged("a payload does not fit its tables");
    }
  }

  /** state = (state // 2^24) · frequency + offset, and another word if that is below 2^32. */
  private advance(offset: number, frequency: number): void {
    const quotient = this.high * 256 + Math.floor(this.low / QUANTILES); // below 2^40
    const upper = Math.floor(quotient / 2 ** 20) * frequency; // below 2^44, in units of 2^20
    const lower = (quotient % 2 ** 20) * frequency + offset;
    const sum = (upper % 2 ** 12) * 2 ** 20 + lower; // below 2^46
    this.high = Math.floor(upper / 2 ** 12) + Math.floor(sum / TWO_32);
    this.low = sum % TWO_32;
    if (this.high === 0 && this.left > 0) this.refill();
  }

  private refill(): void {
    this.left -= 1;
    this.high = this.low;
    this.low = this.words.getUint32(4 * this.left, true);
  }

  private escapedValue(reach: number): number {
    const value = this.escaped[this.nextEscaped++];
    if (value === undefined || Math.abs(value) <= reach || Math.abs(value) >= 2 ** 31) {
      throw damaged("an escaped value is missing or not valid");
    }
    return value;
  }
}

/** [number, position after it] */
function readLeb128(data: Uint8Array, at: number): [number, number] {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    if (at + i >= data.length) break;
    const byte = data[at + i];
    value += (byte & 127) * 2 ** (7 * i);
    if (byte < 128) return [value, at + i + 1];
  }
  throw damaged("a number in a payload is not valid");
}

function damaged(problem: string): BitstreamError {
  return new BitstreamError(`The file cannot be decoded: ${problem}.`);
}
