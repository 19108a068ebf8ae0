// Measures this package beside its peers, in Node.js and in Chromium, and prints the table of README.md.
//
// usage: npm run bench -- [--write] [--check]
//   --write  put the table into README.md
//   --check  fail when a bar is missed
import { createCipheriv, createDecipheriv, getCiphers } from 'node:crypto';
import { createReadStream, mkdtempSync, openAsBlob, openSync, ftruncateSync, closeSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import * as esbuild from 'esbuild';
import * as stillkey from 'stillkey';

import { withPage } from '../scripts/browsers.mjs';
import { intoReadme } from './readme.mjs';
import { peers } from './peers.mjs';
import { lengthOf, run } from './subjects.mjs';

const require = createRequire(import.meta.url);
const { version } = require('../package.json');
const GIBIBYTE = 2 ** 30;
const MEMORY_BAR = 64;

const { values: flags } = parseArgs({ options: { write: { type: 'boolean' }, check: { type: 'boolean' } } });

/** What is claimed: this package's speed, as a multiple of a peer's in the same run. */
const bars = [
  ['aes256-ctr, 64 KiB', '@noble/ciphers', 3, 4.5],
  ['aes128-ctr, 64 KiB', '@noble/ciphers', 3, 4.5],
  ['aes192-ctr, 64 KiB', '@noble/ciphers', 3, 4.5],
  ['sm4-ctr, 64 KiB', 'sm-crypto-v2', 4, 8],
  ['sm4-ctr, 64 KiB', "Node's OpenSSL", 2, 4],
  ...['sealing', 'opening'].flatMap((what) => [
    [`aes256-gcm object, 16 MiB, ${what}`, 'WebCrypto, bare', 0.6],
    [`aes256-gcm object, 16 MiB, ${what}`, 'age-encryption', 3],
    [`aes256-gcm object, 16 MiB, ${what}`, "libsodium's secretstream", 1.5],
  ]),
  ['aes256-ctr file, 256 MiB', "Node's createDecipheriv", 0.6, undefined, [true, false]],
  ['aes256-ctr file, 256 MiB', 'WebCrypto, slice by slice', 0.8, undefined, [false, true]],
  ...[1, 16].flatMap((size) => ['aes128-ctr', 'aes256-ctr'].map((method) => [`${method}, ${size} MiB, asynchronous`, 'WebCrypto', 0.8])),
];

function opensslSm4(key, iv, data) {
  return () => createCipheriv('sm4-ctr', key, iv).update(data);
}

async function inNode(path) {
  const here = {
    smCrypto: require('sm-crypto').sm4,
    openssl: getCiphers().includes('sm4-ctr') ? opensslSm4 : undefined,
  };
  const decipher = async (key, iv, end, keep) => {
    const cipher = createDecipheriv('aes-256-ctr', key, iv);
    // As much at once as this package reads: with less, it is slower.
    const source = createReadStream(path, { end: end - 1, highWaterMark: 1 << 20 });
    for await (const piece of source) keep(cipher.update(piece));
  };
  return run(stillkey, { ...(await peers()), ...here }, { blob: await openAsBlob(path), decipher });
}

/** A file of a gibibyte that takes no room on the disk. */
async function withSparseFile(work) {
  const folder = mkdtempSync(join(tmpdir(), 'stillkey-bench-'));
  try {
    const path = join(folder, 'sparse');
    const file = openSync(path, 'w');
    ftruncateSync(file, GIBIBYTE);
    closeSync(file);
    return await work(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** By how many MiB memory grows at most while `work` runs, by `resident`, which tells MiB. */
async function growth(resident, work) {
  const before = await resident();
  let most = before;
  let over = false;
  const watch = (async () => {
    while (!over) {
      most = Math.max(most, await resident());
      await new Promise((later) => setTimeout(later, 20));
    }
  })();
  const length = await work();
  over = true;
  await watch;
  if (length !== GIBIBYTE) throw new Error(`${length} bytes came out of a file of ${GIBIBYTE}`);
  return most - before;
}

async function decryptInNode(path, length = GIBIBYTE) {
  const stream = new stillkey.CtrStream(stillkey.DataKey.random('aes256-ctr'), new Uint8Array(16));
  return lengthOf(stillkey.decryptBlob(await openAsBlob(path), stream, { end: length }));
}

function residentOf(pid) {
  const kibibytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kibibytes) / 1024;
}

async function inChromium(path) {
  const at = (file) => new URL(file, import.meta.url).pathname;
  await esbuild.build({ entryPoints: [at('peers.mjs')], outfile: at('peers.bundle.js'), bundle: true, minify: true, format: 'esm', logLevel: 'error', external: ['fs', 'path', 'crypto', 'url'] });
  return withPage('bench/page.html', async (page, browser) => {
    await page.waitForFunction(() => globalThis.ready, undefined, { timeout: 60_000 });
    await page.locator('#file').setInputFiles(path);
    const session = await browser.newBrowserCDPSession();
    const { processInfo } = await session.send('SystemInfo.getProcessInfo');
    const pages = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id);
    const resident = () => pages.reduce((sum, pid) => sum + residentOf(pid), 0);
    const memory = await growth(resident, () => page.evaluate(() => globalThis.decryptFile()));
    return { speeds: await page.evaluate(() => globalThis.measureAll()), memory, version: browser.version() };
  }, { strict: false });
}

function versionOf(name) {
  return JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url), 'utf8')).version;
}

function table(node, chromium) {
  const number = (speed) => (speed === undefined ? '' : speed < 10 ? speed.toFixed(1) : speed.toFixed(0));
  const lines = [
    '| MB/s | Node.js | Chromium |',
    '|---|---:|---:|',
  ];
  for (const [group, speeds] of Object.entries(node.speeds)) {
    for (const name of Object.keys(speeds)) {
      lines.push(`| ${group}: ${name === 'stillkey' ? '**stillkey**' : name} | ${number(speeds[name])} | ${number(chromium.speeds[group]?.[name])} |`);
    }
  }
  lines.push('', '| stillkey, as a multiple of | at least | goal | Node.js | Chromium |', '|---|---:|---:|---:|---:|');
  for (const { group, peer, atLeast, goal, ratios } of verdicts(node, chromium)) {
    lines.push(`| ${group}: ${peer} | ${atLeast} | ${goal ?? ''} | ${ratios.map((ratio) => ratio?.toFixed(2) ?? '').join(' | ')} |`);
  }
  lines.push(
    `| memory above the start, decrypting a file of 1 GiB, in MiB | below ${MEMORY_BAR} | | ${node.memory.toFixed(0)} | ${chromium.memory.toFixed(0)} |`,
    '',
    `${cpus()[0].model.trim()}, ${process.platform} ${process.arch}, Node.js ${process.versions.node} (OpenSSL ${process.versions.openssl}), `
      + `Chromium ${chromium.version}, ${new Date().toISOString().slice(0, 10)}; stillkey ${version}, `
      + `${['@noble/ciphers', 'age-encryption', 'libsodium-wrappers', 'aes-js', 'sm-crypto-v2', 'sm-crypto'].map((name) => `${name} ${versionOf(name)}`).join(', ')}.`,
  );
  return lines.join('\n');
}

function verdicts(...results) {
  return bars.map(([group, peer, atLeast, goal, where = [true, true]]) => {
    const ratios = results.map(({ speeds }, i) => {
      if (!where[i]) return undefined;
      const [ours, theirs] = [speeds[group]?.stillkey, speeds[group]?.[peer]];
      return theirs && ours / theirs;
    });
    return { group, peer, atLeast, goal, ratios, where };
  });
}

const { node, chromium } = await withSparseFile(async (path) => {
  // Once in small, so that what is loaded and allocated once counts as before.
  await decryptInNode(path, 32 << 20);
  const memory = await growth(() => process.memoryUsage().rss / 2 ** 20, () => decryptInNode(path));
  const node = { memory, speeds: await inNode(path) };
  return { node, chromium: await inChromium(path) };
});
const text = table(node, chromium);
console.log(text);

if (flags.write) intoReadme(new URL('../README.md', import.meta.url), text);
if (flags.check) {
  const missed = verdicts(node, chromium).flatMap(({ group, peer, atLeast, ratios, where }) =>
    // In the browser, some peers don't exist; in Node.js, what couldn't be measured is missed.
    ratios.filter((ratio, i) => (ratio === undefined ? i === 0 && where[0] : ratio < atLeast)).map((ratio) => `${group}: ${ratio?.toFixed(2) ?? 'not measured'} times ${peer}, not ${atLeast}`),
  );
  for (const [where, { memory }] of Object.entries({ 'Node.js': node, Chromium: chromium })) {
    if (!(memory < MEMORY_BAR)) missed.push(`${where}: ${memory.toFixed(0)} MiB more memory, not below ${MEMORY_BAR}`);
  }
  for (const line of missed) console.error(`missed: ${line}`);
  process.exitCode = missed.length ? 1 : 0;
}
