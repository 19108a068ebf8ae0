/**
 * The entry point of browsers and bundlers: modules are fetched from beside this script, whose addresses bundlers
 * recognise. Nothing happens when it is imported, so that bundlers can leave out what a program doesn't use.
 */
import { browserPort } from './browser-port.js';
import { initFrom, type InitOptions } from './module.js';

export * from './api.js';

/**
 * Loads the WebAssembly module. Call it once, before anything else, and await it; further calls wait for the same
 * module.
 *
 * @throws {@link StillkeyError} `unsupported` when the module can't be compiled; `usage` (`not-ready`) when it can't be
 * loaded.
 */
export function init(options?: InitOptions): Promise<void> {
  return initFrom(
    {
      source: (name) => (name === 'simd' ? new URL('../simd.wasm', import.meta.url) : new URL('../plain.wasm', import.meta.url)),
      worker: (at) =>
        browserPort(() =>
          at === undefined
            ? new Worker(new URL('./browser-worker.js', import.meta.url), { type: 'module' })
            : new Worker(at, { type: 'module' }),
        ),
    },
    options,
  );
}
