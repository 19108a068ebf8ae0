/** Counter mode through a buffer of the module's, piece by piece: so a call allocates nothing. */
import { offsetOf, type Position } from './arguments.js';
import type * as raw from './bindings.js';
import { wasm, wasmMemory } from './module.js';

/** Bytes that are copied into the module at once: little enough to stay in the processor's caches. */
const PIECE = 64 << 10;

let scratch: raw.Scratch | undefined;
let window: Uint8Array | undefined;

/** @internal Encrypts or decrypts in place. */
export function applyAt(stream: raw.CtrStream, offset: Position, bytes: Uint8Array): void {
  let at = offsetOf(offset, bytes.length);
  scratch ??= new (wasm().Scratch)(PIECE);
  for (let from = 0; from < bytes.length; from += PIECE) {
    const { buffer } = wasmMemory();
    // The buffer is another one after the memory has grown.
    if (window?.buffer !== buffer) window = new Uint8Array(buffer, scratch.address(), PIECE);
    const piece = bytes.length <= PIECE ? bytes : bytes.subarray(from, from + PIECE);
    window.set(piece);
    stream.apply_at(at, scratch, piece.length);
    bytes.set(piece.length === PIECE ? window : window.subarray(0, piece.length), from);
    at += BigInt(PIECE);
  }
}

/** @internal What was encrypted or decrypted last may be plaintext. */
export function clearScratch(): void {
  scratch?.clear(PIECE);
}
