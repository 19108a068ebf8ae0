// The suite with its inputs in every form of bytes: none is changed, kept, or read after the call.
import assert from 'node:assert';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import * as stillkey from 'stillkey';

import { forms, watched, withInputs } from './inputs.mjs';
import { define } from './suite/index.mjs';

const cases = JSON.parse(readFileSync(new URL('cases.json', import.meta.url), 'utf8'));
const api = watched(stillkey);

for (const form of Object.keys(forms)) {
  describe(`inputs are ${form}`, () => {
    let inputs = 0;
    const counted = (name, work) =>
      test(name, async () => void (inputs += await withInputs(form, work)));
    define(api, { test: counted, cases, kernel: 'simd128', rounds: 40, wrongTypes: false });
    test('there were inputs to look after', { skip: forms[form].overwrite }, () =>
      assert.ok(inputs > 1000, `only ${inputs}`),
    );
  });
}
