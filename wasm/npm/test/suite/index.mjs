// The suite: what holds in Node.js and in browsers, with either module.
import * as api from './api.mjs';
import * as background from './background.mjs';
import * as badInput from './bad-input.mjs';
import * as streams from './streams.mjs';
import * as vectors from './vectors.mjs';
import * as writing from './writing.mjs';
import * as wrongTypes from './wrong-types.mjs';

/**
 * Defines every test. `test(name, work)` is the runner's; `kernel` is what the module should run; `wrongTypes: false`
 * leaves out what takes values that aren't bytes.
 */
export function define(stillkey, runner) {
  const parts = [vectors, api, streams, background, writing, badInput];
  if (runner.wrongTypes ?? true) parts.push(wrongTypes);
  for (const part of parts) part.define(stillkey, runner);
}
