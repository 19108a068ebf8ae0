// The page in Safari's engine, from its files to decrypted content. All else is tested in e2e.test.mjs.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { launch } from '../../npm/scripts/browsers.mjs';
import { folder, here, makeVault, masterKeys, serve } from './support.mjs';

test('in WebKit, a thread reads the dictionary, the key opens the other, and a file is decrypted', { timeout: 300_000 }, async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const browser = await launch('WebKit');
  t.after(() => browser.close());
  const { session } = browser;
  const found = (where) => session.wait(async () => (await session.findElements({ xpath: where }))[0], 60_000, where);
  const says = (what) => found(`//body[contains(., "${what}")]`);

  await session.get(server.address);
  const { path } = await makeVault(await folder(t));
  const files = ['key.dict', 'file.dict', 'db/000015.sst', 'db/000001.sst'].map((file) => join(path, file));
  // The page has another such field at once, which the driver may call an error. What comes next shows whether it was one.
  await (await found('//input[@aria-label="Open files"]')).sendKeys(files.join('\n')).catch(() => {});
  await says('2, with a log');
  await (await found('//input[@type="password"]')).sendKeys(masterKeys.A);
  await (await found('//button[.="Use key"]')).click();
  await found('//*[contains(@class, "tag") and .="current"]');
  await (await found('//nav//button[starts-with(., "Files")]')).click();
  await (await found('//*[@data-row][contains(., "000015.sst")]')).click();
  await says('Right key: the content is recognised as RocksDB SST');
  await says('a block of keys');
  mkdirSync(join(here, 'screenshots'), { recursive: true });
  writeFileSync(join(here, 'screenshots/webkit.png'), Buffer.from(await session.takeScreenshot(), 'base64'));
});
