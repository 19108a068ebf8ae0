/** The entry point of Node.js for `import`. */
import { readFileSync } from 'node:fs';

import { setPlatform } from './module.js';
import { nodePort } from './node-port.js';

const read = (name: string) => readFileSync(new URL(`../${name}.wasm`, import.meta.url));
setPlatform({
  source: read,
  sourceNow: read,
  worker: (at) => nodePort(at ?? new URL('./node-worker.js', import.meta.url)),
});

export * from './api.js';
