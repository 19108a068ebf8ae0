/** The WebAssembly module, out of the script itself: nothing is fetched, so that the page's policy can forbid all connections. */
import { init } from 'stillkey';
import { plain, simd } from 'virtual:stillkey-modules';

/** Loads the module. */
export function start(): Promise<void> {
  return init({ simd: fromBase64(simd), plain: fromBase64(plain) });
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
