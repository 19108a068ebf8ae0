// The same suite in a browser, under a strict content security policy.
import assert from 'node:assert';
import { test } from 'node:test';

import { withPage } from '../scripts/chromium.mjs';

for (const module of ['simd', 'plain']) {
  test(`Chromium, with the module ${module}`, { timeout: 600_000 }, async (t) => {
    const results = await withPage(`test/browser/index.html?${module}`, async (page) => {
      await page.waitForFunction(() => globalThis.results);
      return page.evaluate(() => globalThis.results);
    });
    assert.ok(results.length > 20, `only ${results.length} tests`);
    for (const { name, error } of results) await t.test(name, () => assert.equal(error, null));
  });
}
