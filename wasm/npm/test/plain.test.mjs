// Where there are no vector instructions.
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import * as stillkey from 'stillkey';

import { define } from './suite/index.mjs';

await stillkey.init({ preferSimd: false });
const cases = JSON.parse(readFileSync(new URL('cases.json', import.meta.url), 'utf8'));
define(stillkey, { test, cases, kernel: 'portable' });
