/** Arguments as callers give them, turned into what the module takes. */
import { guarded, usage } from './errors.js';
import { describe } from './handle.js';
import type { NewBytes } from './types.js';

/** Bytes: a `Uint8Array` (a `Buffer` is one), another view, or a buffer; in memory of one thread or of several. */
export type Bytes = ArrayBufferView | ArrayBufferLike;

/** A position or a length in bytes: a whole number, or a `bigint`, from 0 to 2^64 - 1. Above 2^53 - 1, only a `bigint` is exact. */
export type Position = number | bigint;

const MAX_U64 = 0xffff_ffff_ffff_ffffn;

/** What goes into the module's memory in one piece, in bytes. Streams and readers take any length. */
const MOST = 1 << 30;

/**
 * @internal The bytes themselves, for reading or writing before the call returns. Always a plain `Uint8Array`: a
 * `Buffer` has a `slice` that makes views, and other subclasses may have anything.
 */
export function viewOf(bytes: Bytes, name: string): Uint8Array {
  if (!ArrayBuffer.isView(bytes) && !isBuffer(bytes)) {
    throw usage(`${name}: bytes are needed (a Uint8Array or an ArrayBuffer), not ${describe(bytes)}`);
  }
  try {
    if (!ArrayBuffer.isView(bytes)) return new Uint8Array(bytes);
    // An array without memory has the length 0, and this is what tells it from an empty one.
    if (bytes.byteLength === 0 && !(bytes instanceof DataView)) Uint8Array.prototype.keys.call(bytes);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (error) {
    throw usage(`${name}: its memory is gone: it was transferred or has shrunk; pass bytes that still exist`, 'misuse', error);
  }
}

/** @internal The bytes as they are now, for whatever happens after the call has returned. */
export function copyOf(bytes: Bytes, name: string): NewBytes {
  const view = viewOf(bytes, name);
  return guarded(() => new Uint8Array(view));
}

/** Of any realm: a test runner may run a program in one of its own. */
function isBuffer(value: unknown): value is ArrayBufferLike {
  // Pages that aren't isolated have no shared memory.
  const types: { prototype: object }[] = [ArrayBuffer, globalThis.SharedArrayBuffer ?? ArrayBuffer];
  return types.some(({ prototype }) => {
    try {
      Object.getOwnPropertyDescriptor(prototype, 'byteLength')?.get?.call(value);
      return true;
    } catch {
      return false;
    }
  });
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

/** @internal Text that UTF-8 can hold: half a surrogate pair would become another text. */
export function unicodeOf(text: string, name: string): string {
  if (/\p{Surrogate}/u.test(textOf(text, name))) throw usage(`${name}: half a surrogate pair is not Unicode; correct the text`);
  return text;
}

/** @internal What `options` says. A misspelled option is an error: what it should have done would be missed too late. */
export function optionsOf<T extends object>(options: T | undefined, names: readonly (keyof T & string)[]): Partial<T> {
  const fields = options === undefined ? new Map<string, unknown>() : fieldsOf(options as object, 'options');
  for (const name of fields.keys()) {
    if ((names as readonly unknown[]).includes(name)) continue;
    const known = names.length === 1 ? `is ${names[0]}` : `are ${names.join(', ')}`;
    throw usage(`options: no option '${String(name)}'; there ${known}`);
  }
  signalOf(fields.get('signal'));
  flagOf(fields.get('worker'), 'worker');
  return Object.fromEntries(fields) as Partial<T>;
}

/** @internal What a plain object has of its own, read once. Another object may keep it where it isn't seen, as a `Map` does. */
export function fieldsOf(value: object, name: string, needed = 'a plain object'): Map<string, unknown> {
  if (!isPlain(value)) throw usage(`${name}: ${needed} is needed, not ${describe(value)}`);
  return new Map(Reflect.ownKeys(value).map((key) => [key as string, Reflect.get(value, key)]));
}

function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value) as object | null;
  // Every realm has an `Object.prototype` of its own.
  return prototype === null || (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf'));
}

function flagOf(flag: unknown, name: string): void {
  if (flag !== undefined && typeof flag !== 'boolean') throw usage(`${name}: true or false is needed, not ${describe(flag)}`);
}

function signalOf(signal: unknown): void {
  const { aborted, addEventListener, throwIfAborted } = (signal ?? {}) as Partial<AbortSignal>;
  const isSignal = typeof aborted === 'boolean' && [addEventListener, throwIfAborted].every((method) => typeof method === 'function');
  if (signal !== undefined && !isSignal) throw usage(`signal: an AbortSignal is needed, not ${describe(signal)}`);
}

/** @internal */
export function concatenated(parts: Iterable<Uint8Array>): NewBytes {
  const list = [...parts];
  const whole = new Uint8Array(list.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of list) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

let nowhere: MessagePort | undefined;

/**
 * @internal Gives memory of this package's own back at once. Browsers let hundreds of MiB come together of what nobody needs
 * any more, and `transfer(0)` frees it in Chromium only when it is collected; what is sent to nobody is freed there and then.
 */
export function release(bytes: Uint8Array): void {
  const buffer = bytes.buffer as ArrayBuffer;
  if (!nowhere) {
    if (!globalThis.MessageChannel) return;
    const { port1, port2 } = new MessageChannel();
    port2.close();
    nowhere = port1;
  }
  nowhere.postMessage(buffer, [buffer]);
}
