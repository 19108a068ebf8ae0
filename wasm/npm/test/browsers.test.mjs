// The same suite in browsers, under a strict content security policy.
import assert from 'node:assert';
import { test } from 'node:test';

import { withPage } from '../scripts/browsers.mjs';

for (const [browser, name] of [['Chromium', /Chrome/], ['Firefox', /Firefox/], ['WebKit', /Version\/[^ ]+ Safari/]]) {
  for (const module of ['simd', 'plain']) {
    test(`${browser}, with the module ${module}`, { timeout: 600_000 }, async (t) => {
      const { results, agent } = await withPage(`test/browser/index.html?${module}`, async (page) => {
        return page.evaluate(async () => ({ results: await globalThis.results, agent: navigator.userAgent }));
      }, { browser });
      assert.match(agent, name);
      assert.ok(results.length > 20, `only ${results.length} tests`);
      for (const { name, error } of results) await t.test(name, () => assert.equal(error, null));
    });
  }
}
