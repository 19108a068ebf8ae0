// A page in the Chromium that is installed.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

import { serve } from './server.mjs';

const places = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const args = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--enable-precise-memory-info',
];

/**
 * Opens a page of this package's folder, or of `root`, calls `work` with it, and closes everything. The page is under a strict content
 * security policy unless `strict` is false; what it forbids is an error.
 */
export async function withPage(path, work, { strict = true, root } = {}) {
  const executablePath = places.find((place) => place && existsSync(place));
  if (!executablePath) throw new Error('no Chromium: run tests/setup npm, or name one in CHROMIUM');
  const server = await serve(strict, root);
  const browser = await chromium.launch({ executablePath, args });
  try {
    const page = await browser.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error));
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(new Error(message.text()));
    });
    await page.goto(`${server.address}/${path}`);
    const result = await work(page, browser);
    if (errors.length) throw new AggregateError(errors, `the page had errors: ${errors.map(({ message }) => message).join('; ')}`);
    return result;
  } finally {
    await browser.close();
    server.close();
  }
}
