// The suite: what holds in Node.js and in browsers, with either module.
import * as api from './api.mjs';
import * as badInput from './bad-input.mjs';
import * as streams from './streams.mjs';
import * as vectors from './vectors.mjs';

/** Defines every test. `test(name, work)` is the runner's; `kernel` is what the module should run. */
export function define(stillkey, runner) {
  for (const part of [vectors, api, streams, badInput]) part.define(stillkey, runner);
}
