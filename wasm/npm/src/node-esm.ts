/** The entry point of Node.js for `import`. */
import { readFileSync } from 'node:fs';

import { setPlatform } from './module.js';

const read = (name: string) => readFileSync(new URL(`../${name}.wasm`, import.meta.url));
setPlatform({ source: read, sourceNow: read });

export * from './api.js';
