// What a bundler that knows `new URL('…', import.meta.url)` is given.
import { init } from 'stillkey';
import { roundTrip } from './round-trip.mjs';

globalThis.result = init().then(roundTrip);
