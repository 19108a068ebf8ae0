// Measures in Chromium what the page promises about time, and prints the table of README.md, which the package's has too. Not for the
// gate, whose machine is shared.
//
// usage: npm run bench -- [--write] [--check]
//   --write  put the table into both
//   --check  fail when a bar is missed
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { intoReadme } from '../../npm/bench/readme.mjs';
import { largestFileDict, manyEntries, pick, start } from './support.mjs';

const { values: flags } = parseArgs({ options: { write: { type: 'boolean' }, check: { type: 'boolean' } } });

const ENTRIES = 100_000;
/** As many as fit into the largest file.dict. */
const MOST_ENTRIES = 2_100_000;

const scratch = mkdtempSync(join(tmpdir(), 'stillkey-inspector-'));
const site = await start();

/** What is measured: its bar in milliseconds, how often, and how. */
const rows = [
  ['page ready, from a server on this machine', 1500, 7, ready],
  [`${ENTRIES.toLocaleString('en')} entries, from being picked to being shown`, 1000, 7, shown(`${ENTRIES}.file.dict`, manyEntries(ENTRIES))],
  ['the same while scrolling: the longest frame', 200, 5, scrolled],
  [`128 MiB, ${MOST_ENTRIES.toLocaleString('en')} entries: longest time without an answer`, 200, 3, unanswered(`${MOST_ENTRIES}.file.dict`, largestFileDict(MOST_ENTRIES))],
];

/** From the start of the navigation to the frame after the one with the first button. */
async function ready() {
  const { page, close } = await site.open({
    before: () => {
      new MutationObserver((_, observer) => {
        if (!document.querySelector('button.primary')) return;
        observer.disconnect();
        requestAnimationFrame(() => setTimeout(() => (globalThis.took = performance.now())));
      }).observe(document, { childList: true, subtree: true });
    },
  });
  const took = await result(page, 'took');
  await close();
  return took;
}

/** From the input's event to the frame after the one that holds the first row, in the view Files. */
function shown(name, content) {
  const file = put(name, content);
  return async () => {
    const { page, close } = await site.open();
    const took = await openFiles(page, file);
    await close();
    return took;
  };
}

async function openFiles(page, file) {
  await page.evaluate(() => {
    document.addEventListener('change', () => (globalThis.began = performance.now()), { capture: true, once: true });
    new MutationObserver((_, observer) => {
      const files = [...document.querySelectorAll('nav button')].find((button) => button.textContent.startsWith('Files') && button.querySelector('.count'));
      if (files && !globalThis.clicked) {
        globalThis.clicked = true;
        queueMicrotask(() => files.click());
      }
      if (!document.querySelector('.files [data-row="0"]')) return;
      observer.disconnect();
      requestAnimationFrame(() => setTimeout(() => (globalThis.took = performance.now() - globalThis.began)));
    }).observe(document.body, { childList: true, subtree: true });
  });
  await pick(page, 'Open files', file);
  return result(page, 'took');
}

/** End to end in steps: the longest frame says whether it stutters. */
async function scrolled() {
  const { page, close } = await site.open();
  await openFiles(page, join(scratch, `${ENTRIES}.file.dict`));
  const longest = await page.evaluate(async () => {
    const grid = document.querySelector('.grid');
    let [longest, last] = [0, performance.now()];
    for (let step = 0; step <= 60; step++) {
      grid.scrollTop = ((grid.scrollHeight - grid.clientHeight) * step) / 60;
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      [longest, last] = [Math.max(longest, now - last), now];
    }
    return longest;
  });
  await close();
  return longest;
}

/** The longest time that a task of the page has to wait, from picking a file to its first row. */
function unanswered(name, content) {
  const file = put(name, content);
  return async () => {
    const { page, close } = await site.open();
    await page.evaluate(() => {
      let last = performance.now();
      globalThis.longest = 0;
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        const now = performance.now();
        [globalThis.longest, last] = [Math.max(globalThis.longest, now - last), now];
        setTimeout(() => port2.postMessage(null), 1);
      };
      port2.postMessage(null);
    });
    await openFiles(page, file);
    const longest = await page.evaluate(() => globalThis.longest);
    await close();
    return longest;
  };
}

function put(name, content) {
  const path = join(scratch, name);
  writeFileSync(path, content);
  return path;
}

async function result(page, name) {
  await page.waitForFunction((name) => globalThis[name], name, { timeout: 120_000 });
  return page.evaluate((name) => globalThis[name], name);
}

const missed = [];
const lines = ['| milliseconds | below | median | best |', '|---|---:|---:|---:|'];
try {
  for (const [what, bar, rounds, measure] of rows) {
    const took = [];
    for (let round = 0; round < rounds; round++) took.push(await measure());
    took.sort((a, b) => a - b);
    const median = took[Math.floor(rounds / 2)];
    lines.push(`| ${what} | ${bar} | ${median.toFixed(0)} | ${took[0].toFixed(0)} |`);
    if (!(median < bar)) missed.push(`${what}: ${median.toFixed(0)} ms, not below ${bar}`);
  }
  lines.push('', `${cpus()[0].model.trim()}, ${cpus().length} processors, ${process.platform} ${process.arch}, Chromium ${site.version}, ${new Date().toISOString().slice(0, 10)}.`);
} finally {
  await site.close();
  rmSync(scratch, { recursive: true });
}
const text = lines.join('\n');
console.log(text);

if (flags.write) {
  intoReadme(new URL('../README.md', import.meta.url), text);
  intoReadme(new URL('../../npm/README.md', import.meta.url), text, 'inspector bench');
}
for (const line of missed) console.error(`missed: ${line}`);
if (flags.check && missed.length) process.exitCode = 1;
