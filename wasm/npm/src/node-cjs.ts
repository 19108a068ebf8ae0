/** The entry point of Node.js for `require`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { setPlatform } from './module.js';
import { nodePort } from './node-port.js';

const read = (name: string) => readFileSync(join(__dirname, '..', `${name}.wasm`));
setPlatform({ source: read, sourceNow: read, worker: (at) => nodePort(at ?? join(__dirname, 'node-worker.js')) });

export * from './api.js';
