/** The entry point of browsers and bundlers: modules are fetched from beside this script, whose addresses bundlers recognise. */
import { setPlatform } from './module.js';

setPlatform({
  source: (name) =>
    name === 'simd' ? new URL('../simd.wasm', import.meta.url) : new URL('../plain.wasm', import.meta.url),
});

export * from './api.js';
