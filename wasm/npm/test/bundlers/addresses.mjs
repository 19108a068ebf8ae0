// What a bundler is given that has to be told where the modules go.
import { init } from 'stillkey';
import plain from 'stillkey/plain.wasm';
import simd from 'stillkey/simd.wasm';
import { roundTrip } from './round-trip.mjs';

const at = (path) => new URL(path, import.meta.url);
globalThis.result = init({ simd: at(simd), plain: at(plain) }).then(roundTrip);
