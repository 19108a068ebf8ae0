// The same without awaiting init(): Node.js loads the module with the first call.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { test } = require('node:test');

const stillkey = require('stillkey');

const cases = JSON.parse(readFileSync(join(__dirname, 'cases.json'), 'utf8'));
test('CommonJS', async (t) => {
  const { define } = await import('./suite/index.mjs');
  const tests = [];
  define(stillkey, { test: (name, work) => tests.push([name, work]), cases, kernel: 'simd128' });
  for (const [name, work] of tests) await t.test(name, () => work());
});
