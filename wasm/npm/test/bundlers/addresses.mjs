// What a bundler is given that has to be told where the modules go.
import { init } from 'stillkey';
import plain from 'stillkey/plain.wasm';
import simd from 'stillkey/simd.wasm';
import { roundTrip } from './round-trip.mjs';

const at = (path) => new URL(path, import.meta.url);
// The worker's script is an entry point of its own.
globalThis.result = init({ simd: at(simd), plain: at(plain), workerScript: at('worker.js') }).then(roundTrip);
