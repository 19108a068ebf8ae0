// What the tests share: a server for the built page, a browser, and data directories made from the golden ones.
import { createCipheriv } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, extname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { chromium } from 'playwright-core';

export const here = resolve(dirname(fileURLToPath(import.meta.url)), '..');
export const vectors = resolve(here, '../../tests/vectors');
export const golden = join(vectors, 'tikv');
export const manifest = JSON.parse(readFileSync(join(golden, 'manifest.json'), 'utf8'));
export const masterKeys = manifest.master_keys;

const places = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const flags = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css' };

/** Serves the built page and counts what it is asked for. */
export async function serve() {
  const requests = [];
  const server = createServer(async (request, response) => {
    requests.push(request.url);
    const path = request.url === '/' ? '/stillkey-inspector.html' : request.url;
    try {
      const content = await readFile(join(here, 'dist', decodeURIComponent(path)));
      response.writeHead(200, { 'content-type': types[extname(path)] ?? 'application/octet-stream' }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return { requests, address: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** Chromium doesn't know this rule yet, and says so; where a browser does, it closes a way out. */
export const isUnknownRule = (text) => text === "Unrecognized Content-Security-Policy directive 'webrtc'.";

/** A browser with the page's server behind it. */
export async function start() {
  if (!existsSync(join(here, 'dist/stillkey-inspector.html'))) throw new Error('there is no dist: run npm run build first');
  const executablePath = places.find((place) => place && existsSync(place));
  if (!executablePath) throw new Error('no Chromium: run tests/setup npm, or name one in CHROMIUM');
  const server = await serve();
  const browser = await chromium.launch({ executablePath, args: flags });
  return {
    server,
    version: browser.version(),
    browser: () => browser.newContext(),
    /** A fresh page; what goes wrong in it unseen, and every request, is collected. `before` runs in it before its own script. */
    async open({ width = 1280, height = 860, colorScheme = 'light', before = () => {} } = {}) {
      const context = await browser.newContext({ viewport: { width, height }, colorScheme, acceptDownloads: true });
      const page = await context.newPage();
      const errors = [];
      const requests = [];
      page.on('pageerror', (error) => errors.push(error.message));
      page.on('console', (message) => message.type() === 'error' && !isUnknownRule(message.text()) && errors.push(message.text()));
      page.on('request', (request) => requests.push(request.url()));
      await page.addInitScript(before);
      await page.goto(server.address);
      await page.getByRole('button', { name: 'Open directory' }).waitFor();
      return { page, errors, requests, close: () => context.close() };
    },
    async close() {
      await browser.close();
      server.close();
    },
  };
}

/** A folder that goes when the test ends. */
export async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), 'stillkey-inspector-'));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

/** Encrypts or decrypts with OpenSSL, which is not what the page does it with. */
export function ctr(method, keyHex, ivHex, bytes, offset = 0n) {
  const counter = (BigInt(`0x${ivHex}`) + offset / 16n) & ((1n << 128n) - 1n);
  const cipher = createCipheriv(method.replace(/^aes(?=\d)/, 'aes-'), Buffer.from(keyHex, 'hex'), Buffer.from(counter.toString(16).padStart(32, '0'), 'hex'));
  const skip = Number(offset % 16n);
  return cipher.update(Buffer.concat([Buffer.alloc(skip), bytes])).subarray(skip);
}

/** A golden case, with its single key. */
export function goldenCase(name) {
  const found = manifest.cases.find((one) => one.case === name);
  if (!found) throw new Error(`no golden case ${name}`);
  return found;
}

/** The last 64 bytes of a RocksDB table: zeros where its handles are, version 5, the magic. */
export const sstTail = Buffer.concat([Buffer.alloc(52), Buffer.from('05000000', 'hex'), Buffer.from('f7cff485b741e288', 'hex')]);

/** Larger than 4 GiB, and almost all of it a hole. */
export const HUGE = 5 * 2 ** 30 + 123;

/**
 * A data directory on the golden dictionaries, with contents that can be recognised: a table, JSON, a file that was never encrypted, one
 * of 5 GiB, one without an entry, and one as the golden data has it.
 */
export async function makeVault(within) {
  const path = join(within, 'tikv');
  const name = 'v2-file-aes128-ctr';
  const found = goldenCase(name);
  const db = join(path, 'db');
  await mkdir(db, { recursive: true });
  for (const dictionary of ['key.dict', 'file.dict']) await cp(join(golden, name, dictionary), join(path, dictionary));
  await cp(join(golden, name, 'data/4096.enc'), join(db, '004096.sst'));
  await cp(join(golden, name, 'data/1048579.enc'), join(db, '1048579.sst'));
  const [key] = Object.values(found.key_dict.keys);
  const entry = (file) => found.file_dict.ok[`/golden/${name}/db/${file}`];
  const encrypted = (file, content) => writeFile(join(db, file), ctr(entry(file).method, key.key, entry(file).iv, content));
  const table = Buffer.concat([Buffer.from('a block of keys and values, '.repeat(400)), sstTail]);
  await encrypted('000015.sst', table);
  await encrypted('temp-1', Buffer.from(JSON.stringify({ store: 7, state: 'up', peers: [1, 2, 3] })));
  await writeFile(join(db, '000017.sst'), table);
  await writeFile(join(db, 'stray.log'), 'a plain text file that nobody encrypted\n');
  await writeFile(join(db, '000001.sst'), '');
  await truncate(join(db, '000001.sst'), HUGE);
  await writeFile(join(path, 'master.key'), masterKeys.A);
  return { path, key: key.key, entry, table };
}

/** A file.dict of version 2: an empty base, and a record for each entry. */
export function fileDict(entries) {
  const parts = [Buffer.from([2, ...new Array(15).fill(0)])];
  for (const { name, keyId, iv, method } of entries) {
    const info = Buffer.concat([Buffer.from([0x08]), varint(keyId), Buffer.from([0x12, 16]), iv, Buffer.from([0x18, method])]);
    const content = Buffer.concat([Buffer.from(name), info]);
    const head = Buffer.alloc(9);
    head.writeUInt32BE(crc32(content), 0);
    head.writeUInt16BE(Buffer.byteLength(name), 4);
    head.writeUInt16BE(info.length, 6);
    head[8] = 1;
    parts.push(head, content);
  }
  return Buffer.concat(parts);
}

function varint(value) {
  const bytes = [];
  for (; value > 127n; value >>= 7n) bytes.push(Number(value & 127n) | 128);
  return Buffer.from([...bytes, Number(value)]);
}

/** A file.dict of many entries, of three keys. */
export function manyEntries(number) {
  return fileDict(
    Array.from({ length: number }, (_, at) => ({
      name: `/data/tikv/db/${String(at).padStart(6, '0')}.sst`,
      keyId: [5423321169083495582n, 7n, 15179611318737677242n][at % 3],
      iv: Buffer.alloc(16, at),
      method: 2 + (at % 4),
    })),
  );
}

/** The largest file.dict that the page reads: the log of `names` files that were written again and again. */
export function largestFileDict(names) {
  const [header, records] = [manyEntries(0), manyEntries(names).subarray(16)];
  const times = Math.floor((2 ** 27 - header.length) / records.length);
  return Buffer.concat([header, ...new Array(times).fill(records)]);
}

/** The largest key.dict that the page reads, in the clear; nobody rotates that often. */
export function largestKeyDict() {
  const entryOf = (id) => {
    const key = Buffer.concat([Buffer.from([0x0a, 16]), Buffer.alloc(16, 1), Buffer.from([0x10, 2, 0x18]), varint(BigInt(1_600_000_000 + id))]);
    return Buffer.concat([Buffer.from([0x08]), varint(BigInt(id)), Buffer.from([0x12, key.length]), key]);
  };
  const entries = [];
  for (let [id, length] = [1, 0]; length < 2 ** 22 - 100; id++) {
    const entry = entryOf(id);
    entries.push(Buffer.from([0x0a, entry.length]), entry);
    length += 2 + entry.length;
  }
  const keys = Buffer.concat(entries);
  const method = Buffer.concat([Buffer.from('\n\x06method\x12\x09plaintext')]);
  const content = Buffer.concat([Buffer.from([0x0a, method.length]), method, Buffer.from([0x12]), varint(BigInt(keys.length)), keys]);
  const header = Buffer.alloc(16);
  header[0] = 1;
  header.writeUInt32BE(crc32(content), 4);
  header.writeBigUInt64BE(BigInt(content.length), 8);
  return Buffer.concat([header, content]);
}

/** Gives files to one of the page's pickers. */
export async function pick(page, label, files) {
  await page.locator(`input[type=file][aria-label="${label}"]`).first().setInputFiles(files);
}

/** When nothing is being read or listed any more: dictionaries come one after the other. */
export async function settled(page) {
  await page.locator('.busy [role="status"]:empty').waitFor({ state: 'attached' });
}

/** Types the master key and uses it, and waits for what comes of it. */
export async function useKey(page, text) {
  await page.getByLabel('Master key').fill(text);
  await page.getByRole('button', { name: 'Use key' }).click();
  await settled(page);
}

/** Goes to a view. */
export async function show(page, view) {
  await page.locator('nav').getByRole('button', { name: view, exact: view === 'File' }).first().click();
}
