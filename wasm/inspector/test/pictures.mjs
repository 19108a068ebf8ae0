// Makes the pictures of the README anew: docs/*.png.
//
// usage: node test/pictures.mjs, after npm run build
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { golden, here, makeVault, masterKeys, pick, show, start, useKey } from './support.mjs';

const scratch = mkdtempSync(join(tmpdir(), 'stillkey-inspector-'));
const site = await start();
try {
  const { page } = await site.open({ width: 1240, height: 700 });
  const take = (name, height) => page.screenshot({ path: join(here, `docs/${name}.png`), clip: { x: 0, y: 0, width: 1240, height } });
  await pick(page, 'Open directory', join(golden, 'rotated-data-keys'));
  await useKey(page, masterKeys.A);
  await page.locator('figure svg').waitFor();
  await take('overview', 700);
  await page.getByRole('button', { name: 'Close all' }).click();

  await pick(page, 'Open directory', (await makeVault(scratch)).path);
  await useKey(page, masterKeys.A);
  await page.locator('.keys .tag.current').waitFor();
  await show(page, 'Files');
  await page.locator('[data-row]', { hasText: '000015.sst' }).click();
  await page.locator('.side .line').first().waitFor();
  await take('file', 560);
  await page.getByRole('button', { name: 'Close all' }).click();

  await pick(page, 'Open files', join(golden, 'file-dict-vectors/torn-name.file.dict'));
  await show(page, 'Log');
  await page.locator('.row.torn').waitFor();
  await take('log', 580);
} finally {
  await site.close();
  rmSync(scratch, { recursive: true });
}
