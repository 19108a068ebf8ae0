// A page in a browser that is installed: Chromium by Playwright, Firefox by Puppeteer, since Playwright drives only a Firefox of its own make,
// and WebKit by its own driver, for the same reason.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';

import { serve } from './server.mjs';
import { launchWebKit } from './webkit.mjs';

const args = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--enable-precise-memory-info',
];

/** Where each may be, and what starts it. Of their pages, tests use only what all have. */
const browsers = {
  Chromium: {
    places: [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'],
    launch: (executablePath) => chromium.launch({ executablePath, args }),
  },
  Firefox: {
    places: [process.env.FIREFOX, '/usr/bin/firefox-esr', '/usr/bin/firefox'],
    launch: (executablePath) => puppeteer.launch({ browser: 'firefox', executablePath, protocolTimeout: 600_000 }),
  },
  WebKit: {
    // Debian's; it is no command.
    places: [process.env.WEBKIT, '/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser'],
    launch: launchWebKit,
  },
};

/** Starts a browser. */
export function launch(name) {
  const { places, launch } = browsers[name];
  const executablePath = places.find((place) => place && existsSync(place));
  if (!executablePath) throw new Error(`no ${name}: run tests/setup npm, or name one in ${name.toUpperCase()}`);
  return launch(executablePath);
}

/**
 * Opens a page of this package's folder, or of `root`, calls `work` with it, and closes everything. The page is under a strict content
 * security policy unless `strict` is false; what it forbids is an error.
 */
export async function withPage(path, work, { browser: name = 'Chromium', strict = true, root } = {}) {
  const browser = await launch(name);
  const server = await serve(strict, root);
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
