/** Arguments as callers give them, turned into what the module takes. */
import { usage } from './errors.js';
import { describe } from './handle.js';

/** Bytes: a `Uint8Array` (a `Buffer` is one), another view, or an `ArrayBuffer`. */
export type Bytes = Uint8Array | ArrayBufferView | ArrayBuffer;

/** A position or a length in bytes: a whole number, or a `bigint`, from 0 to 2^64 - 1. Above 2^53 - 1, only a `bigint` is exact. */
export type Position = number | bigint;

const MAX_U64 = 0xffff_ffff_ffff_ffffn;

/** What goes into the module's memory in one piece, in bytes. Streams and readers take any length. */
const MOST = 1 << 30;

/** @internal A view of bytes, wherever they are; a copy of nothing where their buffer was given away. */
export function viewOf(bytes: Bytes, name: string): Uint8Array {
  // To have the class is not enough: its methods have to work.
  if (ArrayBuffer.isView(bytes)) {
    if (bytes.byteLength === 0) return new Uint8Array();
    return bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  if (bytes instanceof ArrayBuffer) return new Uint8Array(bytes);
  throw usage(`${name}: bytes are needed (a Uint8Array or an ArrayBuffer), not ${describe(bytes)}`);
}

/** @internal A view of bytes that are copied into the module at once. */
export function wholeOf(bytes: Bytes, name: string): Uint8Array {
  const view = viewOf(bytes, name);
  if (view.length > MOST) {
    throw usage(`${name}: ${view.length} bytes are more than fit in memory at once (${MOST}); use a stream, or a reader over a Blob`);
  }
  return view;
}

/** @internal A number from 0 to 2^64 - 1. */
export function u64(position: Position, name: string): bigint {
  if (typeof position === 'number' && Number.isSafeInteger(position) && position >= 0) return BigInt(position);
  if (typeof position === 'bigint' && position >= 0n && position <= MAX_U64) return position;
  const shown = typeof position === 'number' || typeof position === 'bigint' ? String(position) : describe(position);
  throw usage(`${name}: ${shown} is not a whole number from 0 to 2^64 - 1 (as a number, up to 2^53 - 1)`);
}

/** @internal Both an offset and that a piece of `length` bytes fits behind it. */
export function offsetOf(offset: Position, length: number, name = 'offset'): bigint {
  const from = u64(offset, name);
  if (from + BigInt(length) > MAX_U64) {
    throw usage(`${length} bytes at offset ${from} end past 2^64 - 1; use a smaller offset`);
  }
  return from;
}

/** @internal */
export function textOf(text: string, name: string): string {
  if (typeof text !== 'string') throw usage(`${name}: a string is needed, not ${describe(text)}`);
  return text;
}

/** @internal */
export function optionsOf<T extends object>(options: T | undefined): Partial<T> {
  if (options === undefined) return {};
  if (typeof options !== 'object' || options === null) throw usage(`options: an object is needed, not ${describe(options)}`);
  return options;
}

/** @internal */
export function concatenated(parts: Iterable<Uint8Array>): Uint8Array<ArrayBuffer> {
  const list = [...parts];
  const whole = new Uint8Array(list.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of list) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
