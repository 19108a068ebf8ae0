/** The WebAssembly module, out of the script itself: nothing is fetched, so that the page's policy can forbid all connections. */
import { init, type InitOptions } from 'stillkey';
import { plain, simd } from 'virtual:stillkey-modules';

let decoded: InitOptions | undefined;

/** Both modules, for the page and for its threads. */
export function modules(): InitOptions {
  decoded ??= { simd: fromBase64(simd), plain: fromBase64(plain) };
  return decoded;
}

/** Loads the module. */
export function start(): Promise<void> {
  return init(modules());
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
