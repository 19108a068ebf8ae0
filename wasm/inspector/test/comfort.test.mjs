// What would tell a tired person the wrong thing: each of these failed once. The damage is made here, or by TiKV's own code.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { after, before, test } from 'node:test';
import { crc32 } from 'node:zlib';

import { ctr, fileDict, folder, golden, goldenCase, here, isUnknownRule, makeVault, masterKeys, pick, settled, show, start, useKey } from './support.mjs';

let site;
before(async () => {
  site = await start();
});
after(() => site.close());

function onPage(name, work, options) {
  test(name, { timeout: 90_000 }, async (t) => {
    const opened = await site.open(options);
    try {
      await work(opened.page, t, opened);
      assert.deepEqual(opened.errors, []);
    } finally {
      await opened.close();
    }
  });
}

const message = (page, text) => page.locator('.message', { hasText: text }).first().waitFor();
const verdict = (page) => page.locator('.verdict').innerText();
const overview = async (page) => {
  await show(page, 'Overview');
  await settled(page);
};
const put = async (t, files) => {
  const path = await folder(t);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(path, name, '..'), { recursive: true });
    writeFileSync(join(path, name), content);
  }
  return path;
};
const open = async (page, name) => {
  await show(page, 'Files');
  await page.getByLabel('Search').fill(name);
  await page.locator('[data-row="0"]').click();
  await page.locator('h2.path').waitFor();
  await settled(page);
};

/** A record of a log as it stands there. */
function record(name, info, type = 1) {
  const content = Buffer.concat([Buffer.from(name), info]);
  const head = Buffer.alloc(9);
  head.writeUInt32BE(crc32(content), 0);
  head.writeUInt16BE(Buffer.byteLength(name), 4);
  head.writeUInt16BE(info.length, 6);
  head[8] = type;
  return Buffer.concat([head, content]);
}
const info = Buffer.concat([Buffer.from('08011210', 'hex'), Buffer.alloc(16, 7), Buffer.from('1802', 'hex')]);
const header = Buffer.from([2, ...new Array(15).fill(0)]);
const log = (...parts) => Buffer.concat([header, ...parts]);
const [a, b, c] = ['a', 'b', 'c'].map((name) => record(name, info));
const flipped = (bytes, at) => Buffer.from(bytes.map((byte, index) => (index === (at + bytes.length) % bytes.length ? byte ^ 1 : byte)));
const longer = flipped(b, 5);
longer[4] = 0x40;

/** Every row of the table of findings: a file.dict with that very damage, and words that only that row has. */
const findings = {
  complete: [log(a, b), 'each with a checksum that fits, up to the last byte'],
  'cut-off': [log(a, b.subarray(0, 20)), 'The file ends inside a record'],
  'checksum-at-end': [log(a, flipped(b, -1)), 'The last record is all there, but its checksum doesn’t fit'],
  zeros: [log(a, Buffer.alloc(4096)), 'there are only zeros'],
  'zeros, too few for a record': [log(a, Buffer.alloc(8)), '8 zero bytes follow the last whole record'],
  checksum: [log(a, flipped(b, -1), c), 'its name or its entry changed after it was written'],
  'intact-record-inside': [log(a, longer, c), 'doesn’t end where its lengths say, although whole records follow'],
  'torn-or-damaged': [null, 'Not all of it was tried'],
  'record-type-0': [log(a, flipped(record('b', info, 1), 8), c), 'of type 0, as in space that was never written'],
  'record-type': [log(a, record('b', info, 5), c), 'of a type that doesn’t exist'],
  'type-mismatch': [log(a, record('b', info, 2), c), 'contradicts what it holds'],
  'remove-of-absent': [log(a, record('z', Buffer.alloc(0), 2), c), 'removes a file that has no entry'],
  protobuf: [log(a, record('b', Buffer.from('ffff', 'hex')), c), 'its entry can’t be decoded'],
  'name-not-utf8': [log(a, badName(), c), 'its name is no text'],
  'header short': [Buffer.from([2, 0, 0]), 'fewer bytes than the header alone'],
  'header length': [flipped(log(a), 8), 'Its header (bytes 8 to 15)'],
  'header checksum': [flipped(log(a), 4), 'The checksum in the header (bytes 4 to 7) doesn’t fit the content, which starts at byte 16'],
  'content protobuf': [framed(Buffer.from('ffff', 'hex')), 'the content, from byte 16 on, can’t be decoded'],
};

function badName() {
  const content = Buffer.concat([Buffer.from([0xff]), info]);
  const bytes = Buffer.concat([record('x', info).subarray(0, 9), content]);
  bytes.writeUInt32BE(crc32(content), 0);
  return bytes;
}

function framed(content) {
  const start = Buffer.from(header);
  start.writeUInt32BE(crc32(content), 4);
  start.writeBigUInt64BE(BigInt(content.length), 8);
  return Buffer.concat([start, content]);
}

/** So much that looks like records that trying all of it would take too long. */
function tooMuch() {
  const candidate = record('x', info);
  candidate.writeUInt32BE(1, 0);
  candidate.writeUInt16BE(60_000, 4);
  const start = Buffer.from(b);
  start.writeUInt16BE(65_535, 4);
  start.writeUInt16BE(65_535, 6);
  return log(a, start.subarray(0, 9), ...new Array(3500).fill(candidate), Buffer.alloc(61_000, 3)).subarray(0, 16 + a.length + 120_000);
}

onPage('every finding of a file.dict has words of its own', async (page, t) => {
  findings['torn-or-damaged'][0] = tooMuch();
  const path = await put(t, Object.fromEntries(Object.entries(findings).map(([name, [content]]) => [`${name}.file.dict`, content])));
  for (const [name, [, words]] of Object.entries(findings)) {
    await pick(page, 'Open files', join(path, `${name}.file.dict`));
    await settled(page);
    await show(page, 'Log');
    await message(page, words).catch(async () => assert.fail(`${name}: ${await page.locator('.message').allInnerTexts()}`));
    await page.getByRole('button', { name: 'Close all' }).click();
  }
});

onPage('a complete last record with a flipped bit is no harmless torn append', async (page) => {
  await pick(page, 'Open files', join(golden, 'file-dict-vectors/tail-crc-bad.file.dict'));
  await message(page, 'a confirmed record has changed since, and an entry is lost');
  assert.match(await verdict(page), /^Problem/);
  assert.equal(await page.getByText('harmless').count(), 0);
});

onPage('a second store with the same layout gets none of the first one’s files', async (page, t) => {
  const path = await folder(t);
  const one = await makeVault(join(path, 'a'));
  cpSync(one.path, join(path, 'b/tikv'), { recursive: true, filter: (source) => !source.endsWith('.sst') });
  writeFileSync(join(path, 'b/tikv/db/own.log'), 'a file of the second store');
  await pick(page, 'Open directory', one.path);
  await settled(page);
  await useKey(page, masterKeys.A);
  const ready = /[1-9]\d* files? can be read/;
  assert.match(await verdict(page), ready);
  await pick(page, 'Open directory', join(path, 'b/tikv'));
  await settled(page);
  await page.locator('.stores select').waitFor();
  await useKey(page, masterKeys.A);
  const text = await verdict(page);
  assert.match(text, /1 file can be read/, 'temp-1 alone was copied');
  assert.match(text, /have no file here/);
  await show(page, 'Files');
  await page.getByLabel('Search').fill('own.log');
  await page.locator('.found', { hasText: '1 file of' }).waitFor();
  await page.locator('.stores select').selectOption('0');
  await overview(page);
  assert.match(await verdict(page), ready);
  await show(page, 'Files');
  await page.getByLabel('Search').fill('own.log');
  await page.locator('.nothing').waitFor();
});

onPage('an older key.dict is not mixed with a newer file.dict unseen', async (page, t) => {
  const path = await folder(t);
  const { path: vault } = await makeVault(path);
  cpSync(join(golden, 'v2-file-sm4-ctr/key.dict'), join(vault, 'old.key.dict'));
  cpSync(join(golden, 'v2-file-sm4-ctr/file.dict'), join(vault, 'old.file.dict'));
  await pick(page, 'Open directory', vault);
  await settled(page);
  await message(page, 'There are several dictionaries in this directory');
  await useKey(page, masterKeys.A);
  assert.doesNotMatch(await verdict(page), /the data key is missing/);
  await page.locator('.dictionaries select').first().selectOption({ index: 1 });
  await settled(page);
  await message(page, 'These two dictionaries may not belong together');
  assert.match(await verdict(page), /files can’t be read: the data key is missing/);
});

onPage('the unwrapped key of a key service opens key.dict, as the page says', async (page) => {
  await pick(page, 'Open files', ['key.dict', 'file.dict'].map((file) => join(golden, 'kms/AWS', file)));
  await message(page, 'The key that the service unwraps, 64 hexadecimal digits, opens key.dict here');
  assert.equal(await page.getByText('can’t be opened here').count(), 0);
  await useKey(page, masterKeys.B);
  await message(page, 'This is not the key that the key service AWS wrapped');
  await page.getByLabel('Master key').waitFor();
  await useKey(page, goldenCase('kms/AWS').kms_plaintext_key);
  await page.locator('.keys .tag.current').waitFor();
});

onPage('zeros on disk are never called the content', async (page, t) => {
  const { path } = await makeVault(await folder(t));
  writeFileSync(join(path, 'db/000015.sst'), Buffer.alloc(5000));
  writeFileSync(join(path, 'db/zeros.dat'), Buffer.alloc(5000));
  await pick(page, 'Open directory', path);
  await settled(page);
  await useKey(page, masterKeys.A);
  await open(page, '000015');
  await message(page, 'Zeros on disk: probably never written');
  assert.equal(await page.getByText('that is the content').count(), 0);
  await open(page, 'zeros.dat');
  await message(page, 'That says neither that the file is encrypted nor that it isn’t');
});

onPage('a damaged log is said to be one on every view, and what stands behind is shown and saved', async (page, t) => {
  const path = await put(t, { 'file.dict': log(a, flipped(b, -1), c), d: 'd' });
  await pick(page, 'Open files', [join(path, 'file.dict'), join(path, 'd')]);
  await settled(page);
  const at = 16 + a.length;
  assert.match(await verdict(page), new RegExp(`^Problem\\s+The log is damaged at byte ${at}: the list of files is incomplete`));
  await show(page, 'Files');
  await message(page, `the log can be believed up to byte ${at} only`);
  await page.locator('[data-row="0"]').click();
  await message(page, `the log can be believed up to byte ${at} only`);
  await show(page, 'Log');
  const rows = await page.locator('.log .body .row').allInnerTexts();
  assert.equal(rows.length, 4, rows.join('|'));
  assert.match(rows[2], /damaged[\s\S]*b/);
  assert.match(rows[3], /found behind the damage[\s\S]*c/);
  // The damaged record: its name, its bytes, and both checksums.
  await page.locator('.log .row.damaged').click();
  await page.getByText('Checksum stored').waitFor();
  const shown = await page.locator('.record').innerText();
  const content = flipped(b, -1).subarray(9);
  assert.match(shown, new RegExp(crc32(b.subarray(9)).toString(16).padStart(8, '0')));
  assert.match(shown, new RegExp(`${crc32(content).toString(16).padStart(8, '0')} \\(doesn’t fit\\)`));
  assert.match(shown, /62 08 01/);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save a repaired file.dict' }).click()]);
  assert.match(await page.locator('.salvage').innerText(), /Lost: 1 part of the file/);
  writeFileSync(join(path, 'repaired.file.dict'), readFileSync(await download.path()));
  await pick(page, 'Open files', join(path, 'repaired.file.dict'));
  await settled(page);
  await overview(page);
  assert.match(await verdict(page), /The log is whole/);
  await show(page, 'Files');
  assert.equal(await page.locator('.files .body .row').count(), 2);
});

onPage('a current key of the method plaintext shouts', async (page) => {
  await pick(page, 'Open directory', join(golden, goldenCase('disabled/keep-file-master').dir));
  await settled(page);
  await useKey(page, masterKeys.A);
  await message(page, 'New files are written unencrypted');
  assert.match(await verdict(page), /^Problem\s+New files are written unencrypted/);
});

onPage('each number of the verdict leads to its files', async (page, t) => {
  const { path } = await makeVault(await folder(t));
  await pick(page, 'Open directory', path);
  await settled(page);
  await useKey(page, masterKeys.A);
  await page.locator('.verdict button', { hasText: 'no entry' }).click();
  await page.locator('.found', { hasText: / of / }).waitFor();
  const states = await page.locator('.files .body .tag').allInnerTexts();
  assert.ok(states.length && states.every((state) => state === 'no entry'), states.join());
  await page.getByLabel('State').selectOption('');
  assert.equal(await page.locator('.files .body .tag').first().innerText(), 'no entry', 'problems stand first');
});

onPage('names can’t deceive or break the page', async (page, t) => {
  const names = ['', 'photo.\u202egnp.exe', 'line\nfeed', 'blank ', 'nul\0', 'x'.repeat(65_535)];
  const path = await put(t, { 'file.dict': fileDict(names.map((name) => ({ name, keyId: 1n, iv: Buffer.alloc(16), method: 2 }))) });
  await pick(page, 'Open files', join(path, 'file.dict'));
  await settled(page);
  await show(page, 'Files');
  const rows = (await page.locator('.files .body .cell.name').allInnerTexts()).sort();
  for (const shown of ['(a name without a character)', 'photo.\\u{202e}gnp.exe', 'line\\nfeed', 'blank\\x20', 'nul\\0']) assert.ok(rows.includes(shown), `${shown} is not in ${rows}`);
  assert.doesNotMatch(await page.content(), /\u202e/);
  await page.getByLabel('Search').fill('xxx');
  await page.locator('[data-row="0"]').click();
  const heading = page.locator('h2.path');
  await heading.waitFor();
  assert.ok((await heading.boundingBox()).height < 120);
  await page.getByRole('button', { name: 'Show all of it' }).click();
  assert.ok((await heading.innerText()).includes('x'.repeat(65_000)));
});

onPage('the initialization vector that is shown is the one that is used', async (page, t) => {
  const { entry } = await makeVault(await folder(t)).then(async (made) => {
    await pick(page, 'Open directory', made.path);
    await settled(page);
    return made;
  });
  await useKey(page, masterKeys.A);
  await open(page, '004096');
  await page.getByText('Another file, or a page file').click();
  await page.getByLabel('TiFlash page file name').fill('page_1');
  await page.locator('form', { hasText: 'TiFlash' }).getByRole('button', { name: 'Use' }).click();
  await page.getByText('Initialization vector, of this page file').waitFor();
  const about = await page.locator('.about').first().innerText();
  assert.match(about, /of the group/);
  const shown = /of this page file\s+([0-9a-f]{32})/.exec(about)[1];
  assert.notEqual(shown, entry('004096.sst').iv);
});

onPage('what is copied are lines, and selecting a name opens nothing', async (page, t) => {
  await makeVault(await folder(t)).then(({ path }) => pick(page, 'Open directory', path));
  await settled(page);
  await show(page, 'Files');
  const cell = page.locator('[data-row="0"] .last');
  const box = await cell.boundingBox();
  await page.mouse.move(box.x + 1, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 1, box.y + box.height / 2, { steps: 5 });
  await page.mouse.up();
  assert.equal(await page.evaluate(() => getSelection().toString().length > 2), true, 'nothing was selected');
  assert.equal(await page.getByRole('heading', { name: 'Files' }).count(), 1, 'the file was opened');
  await page.evaluate(() => getSelection().removeAllRanges());
  await open(page, 'stray.log');
  await page.locator('.side .line').first().waitFor();
  const copied = await page.evaluate(() => {
    getSelection().selectAllChildren(document.querySelector('.side'));
    return getSelection().toString();
  });
  assert.match(copied, /\n00000000  61 20 70 6c 61 69 6e 20 {2}74 65 78 74 20 66 69 6c {2}a plain text fil\n00000010  65 20/);
});

onPage('a key is taken as people have it, and after a wrong one the field stays', async (page, t) => {
  await makeVault(await folder(t)).then(({ path }) => pick(page, 'Open directory', path));
  await settled(page);
  await useKey(page, masterKeys.B);
  await message(page, 'Wrong master key');
  const field = page.getByLabel('Master key');
  assert.equal(await field.evaluate((element) => element === document.activeElement), true, 'the focus is elsewhere');
  for (const [text, words] of [
    ['-----BEGIN PRIVATE KEY-----', 'This is a PEM file'],
    [Buffer.from(masterKeys.A, 'hex').toString('base64'), 'This is Base64'],
  ]) {
    await useKey(page, text);
    await message(page, words);
  }
  for (const text of [`"${masterKeys.A}"`, ` 0x${masterKeys.A.toUpperCase()} `]) {
    await useKey(page, text);
    await page.locator('.keys .tag.current').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Forget key' }).evaluate((element) => element === document.activeElement), true, 'the focus is elsewhere');
    await page.getByRole('button', { name: 'Forget key' }).click();
    await field.waitFor();
  }
});

test('the page is one file that works from a disk, with its version and hash', { timeout: 60_000 }, async (t) => {
  const browser = await site.browser();
  const page = await browser.newPage();
  t.after(() => page.close());
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (entry) => entry.type() === 'error' && !isUnknownRule(entry.text()) && errors.push(entry.text()));
  await page.goto(pathToFileURL(join(here, 'dist/stillkey-inspector.html')).href);
  const vault = await makeVault(await folder(t));
  await pick(page, 'Open directory', vault.path);
  await settled(page);
  await useKey(page, masterKeys.A);
  await open(page, '000015');
  await message(page, 'Right key: the content is recognised as RocksDB SST');
  assert.match(await page.locator('footer').innerText(), /Version 0\.1\.0, build [0-9a-f]{16}/);
  assert.deepEqual(errors, []);
});

// The words on the welcome page are what this shows: nothing reaches the network but WebRTC, and the tab's own address.
test('script that got into the page reaches nothing but by WebRTC and by navigation', { timeout: 90_000 }, async (t) => {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    response.writeHead(200, { 'access-control-allow-origin': '*', 'content-type': request.url.endsWith('css') ? 'text/css' : 'text/javascript' }).end('');
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  t.after(() => server.close());
  const stun = createSocket('udp4');
  let packets = 0;
  stun.on('message', () => packets++);
  await new Promise((ready) => stun.bind(0, '127.0.0.1', ready));
  t.after(() => stun.close());
  const opened = await site.open();
  t.after(() => opened.close());
  const loaded = site.server.requests.length;
  const others = `http://127.0.0.1:${server.address().port}`;
  await opened.page.evaluate(
    async ({ own, others, stun }) => {
      for (const [name, base] of [['own', own], ['other', others]]) {
        const at = (what) => `${base}/${name}-${what}`;
        const quiet = async (work) => {
          try {
            await work();
          } catch {
            // Refused, as it should be.
          }
        };
        await quiet(() => fetch(at('fetch')));
        await quiet(() => fetch(at('no-cors'), { mode: 'no-cors', keepalive: true }));
        await quiet(() => navigator.sendBeacon(at('beacon'), 'x'));
        await quiet(() => new Promise((done) => Object.assign(new XMLHttpRequest(), { onerror: done, onload: done, ...{} }).open('GET', at('xhr')) ?? done()));
        await quiet(() => {
          const request = new XMLHttpRequest();
          request.open('GET', at('xhr-sync'), false);
          request.send();
        });
        await quiet(() => new WebSocket(at('socket').replace('http', 'ws')));
        await quiet(() => new EventSource(at('events')));
        await quiet(() => import(at('import.js')));
        await quiet(() => new Worker(at('worker.js')));
        await quiet(() => new SharedWorker(at('shared.js')));
        await quiet(() => navigator.serviceWorker.register(at('service.js')));
        const add = (tag, properties) => document.head.append(Object.assign(document.createElement(tag), properties));
        await quiet(() => add('img', { src: at('image') }));
        await quiet(() => add('script', { src: at('script.js') }));
        for (const rel of ['stylesheet', 'prefetch', 'preload', 'modulepreload', 'prerender', 'icon', 'manifest']) await quiet(() => add('link', { rel, href: at(`${rel}.css`), as: 'script' }));
        for (const tag of ['iframe', 'embed', 'video', 'audio', 'track']) await quiet(() => document.body.append(Object.assign(document.createElement(tag), { src: at(tag) })));
        await quiet(() => document.body.append(Object.assign(document.createElement('object'), { data: at('object') })));
        await quiet(() => {
          const style = document.createElement('style');
          style.textContent = `body { background: url(${at('css')}) } @font-face { font-family: x; src: url(${at('font')}) } * { font-family: x }`;
          document.head.append(style);
        });
        await quiet(() => {
          const form = Object.assign(document.createElement('form'), { action: at('form'), method: 'post', target: '_blank' });
          document.body.append(form);
          form.submit();
        });
        await quiet(() => {
          const rules = document.createElement('script');
          rules.type = 'speculationrules';
          rules.textContent = JSON.stringify({ prefetch: [{ source: 'list', urls: [at('speculation')] }] });
          document.head.append(rules);
        });
      }
      try {
        const connection = new RTCPeerConnection({ iceServers: [{ urls: `stun:127.0.0.1:${stun}` }] });
        connection.createDataChannel('x');
        await connection.setLocalDescription(await connection.createOffer());
      } catch {
        // Where the browser knows the rule against it.
      }
      await new Promise((done) => setTimeout(done, 2000));
    },
    { own: site.server.address, others, stun: stun.address().port },
  );
  assert.deepEqual(asked, []);
  assert.deepEqual(site.server.requests.slice(loaded), []);
  t.diagnostic(`WebRTC: ${packets ? 'packets went out' : 'no packet went out'}`);
  // The page's words name both.
  await opened.page.goto(site.server.address);
  const words = await opened.page.locator('.welcome').innerText();
  assert.match(words, /sending the tab to another address, and WebRTC/);
  await opened.page.evaluate((address) => void (location.href = address), `${others}/navigated`);
  await opened.page.waitForURL(`${others}/navigated`);
  assert.ok(asked.includes('/navigated'), 'navigation is closed: say so on the page');
});
