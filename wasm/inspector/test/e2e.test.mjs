// The built page in a browser, on golden data. Each view is also kept as a picture in screenshots/.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { ctr, fileDict, folder, golden, goldenCase, here, HUGE, largestFileDict, largestKeyDict, makeVault, manyEntries, masterKeys, pick, settled, show, start, useKey, vectors } from './support.mjs';

const axe = readFileSync(join(here, 'node_modules/axe-core/axe.min.js'), 'utf8');
const pictures = join(here, 'screenshots');
mkdirSync(pictures, { recursive: true });

let site;
before(async () => {
  site = await start();
});
after(() => site.close());

const limit = { timeout: 60_000 };

/** Bytes that a window of this width shows at once: 24 rows of 16. */
const WINDOW = 384;

/** A test with a page of its own, in which nothing may go wrong unseen and nothing be asked for after it has loaded. */
function onPage(name, work, options) {
  test(name, limit, async (t) => {
    const opened = await site.open(options);
    try {
      const loaded = [opened.requests.length, site.server.requests.length];
      await work(opened.page, t, opened);
      // What is saved by way of a Blob has an address of its own, which is nowhere.
      const later = opened.requests.slice(loaded[0]).filter((address) => !address.startsWith('blob:'));
      assert.deepEqual(later, [], 'the page made requests');
      assert.equal(site.server.requests.length, loaded[1], 'the server was asked');
      assert.deepEqual(opened.errors, []);
    } finally {
      await opened.close();
    }
  });
}

const vault = async (page, t, key = masterKeys.A) => {
  const made = await makeVault(await folder(t));
  await pick(page, 'Open directory', made.path);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await settled(page);
  if (key) await useKey(page, key);
  return made;
};
const openFile = async (page, name) => {
  await show(page, 'Files');
  await page.getByLabel('Search').fill(name);
  await page.locator('[data-row="0"]').click();
  await page.locator('h2.path').waitFor();
};
const message = (page, text) => page.locator('.message', { hasText: text }).first().waitFor();
const side = (page, title) => page.locator('.side', { hasText: title });
const bytesAt = async (page, title) => (await side(page, title).locator('.bytes').allTextContents()).join(' ').replace(/\s+/g, '');
const goTo = async (page, offset) => {
  await page.getByRole('textbox', { name: 'Offset' }).fill(String(offset));
  await page.getByRole('button', { name: 'Go', exact: true }).click();
  await page.locator('.said', { hasText: 'At byte' }).waitFor();
};

onPage('a directory is opened with its master key', async (page, t) => {
  await vault(page, t);
  const text = await page.locator('.facts').innerText();
  assert.match(text, /5423321169083495582/);
  assert.match(text, /aes128-ctr/);
  assert.match(text, /2, with a log/);
  assert.equal(await page.locator('.keys tbody tr').count(), 1);
  assert.match(await page.locator('.keys tbody').innerText(), /current\s+10/);
  // The key was taken out of the field, and its text is nowhere in the page.
  assert.doesNotMatch(await page.content(), new RegExp(masterKeys.A.slice(0, 12)));
  assert.equal(await page.evaluate(() => localStorage.length + sessionStorage.length + document.cookie.length), 0);
});

onPage('files can be dropped', async (page, t) => {
  const { path } = await makeVault(await folder(t));
  const content = Object.fromEntries(['key.dict', 'file.dict'].map((name) => [name, readFileSync(join(path, name)).toString('base64')]));
  await page.evaluate((files) => {
    const transfer = new DataTransfer();
    for (const [name, base64] of Object.entries(files)) transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
    dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, cancelable: true }));
  }, content);
  await message(page, 'give the master key');
  await show(page, 'Files');
  assert.equal(await page.locator('.files .body .row').count(), 10);
});

onPage('a directory can be dropped, and is walked through', async (page, t) => {
  const { path } = await makeVault(await folder(t));
  const browser = await page.context().newCDPSession(page);
  const data = { items: [], files: [path], dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop']) await browser.send('Input.dispatchDragEvent', { type, x: 300, y: 300, data });
  await message(page, 'give the master key');
  await useKey(page, masterKeys.A);
  await openFile(page, '000015');
  await message(page, 'Right key: the content is recognised as RocksDB SST');
});

onPage('a wrong master key is called that, and the right one opens afterwards', async (page, t) => {
  await vault(page, t, masterKeys.B);
  await message(page, 'Wrong master key');
  await page.getByText('try the previous one').waitFor();
  await page.getByRole('button', { name: 'Forget key' }).click();
  await useKey(page, masterKeys.A);
  await page.locator('.keys tbody .tag.current').waitFor();
  assert.equal(await page.locator('.message.bad').count(), 0);
});

onPage('a typo in the master key is said to be at its character, and not shown', async (page, t) => {
  await vault(page, t, `${masterKeys.A.slice(0, 11)}z${masterKeys.A.slice(12)}`);
  await message(page, 'typo at character 12');
  await useKey(page, masterKeys.A.slice(0, 63));
  await page.locator('.message', { hasText: '64 hexadecimal digits' }).first().waitFor();
  assert.doesNotMatch(await page.content(), new RegExp(masterKeys.A.slice(0, 10)));
});

onPage('a key file is loaded, and a large one is not', async (page, t) => {
  const { path } = await vault(page, t, null);
  await pick(page, 'Load key file', join(path, 'db/1048579.sst'));
  await message(page, 'not a master key file');
  await pick(page, 'Load key file', join(golden, 'keys/master-A.key'));
  await page.getByText('Forget key').waitFor();
  await page.locator('.keys tbody .tag.current').waitFor();
});

onPage('a torn log is marked where it is torn', async (page) => {
  await pick(page, 'Open files', join(golden, 'file-dict-vectors/torn-name.file.dict'));
  await message(page, 'cut off at byte');
  await show(page, 'Log');
  const torn = page.locator('.row.torn');
  await torn.waitFor();
  assert.match(await page.locator('.message').innerText(), /then that append was never confirmed/);
  assert.match(await page.locator('.message').innerText(), /TiKV would start, and drop the last/);
  const rows = await page.locator('.log .body .row').allInnerTexts();
  const size = readFileSync(join(golden, 'file-dict-vectors/torn-name.file.dict')).length;
  const last = await torn.locator('.offset, .length').allInnerTexts();
  assert.equal(last.map((text) => Number(text.replace(/\D/g, ''))).reduce((a, b) => a + b), size, rows.join('\n'));
});

for (const [file, words] of [
  ['middle-crc-bad', /TiKV would refuse to start/],
  ['middle-namelen-huge', /TiKV would start, and drop/],
]) {
  onPage(`a damaged log is marked: ${file}`, async (page) => {
    await pick(page, 'Open files', join(golden, `file-dict-vectors/${file}.file.dict`));
    await message(page, 'damaged at byte');
    await show(page, 'Log');
    await page.locator('.row.damaged').waitFor();
    assert.match(await page.locator('.message').innerText(), words);
  });
}

onPage('every golden log shows as many records as it has, without a gap', async (page) => {
  for (const { name } of JSON.parse(readFileSync(join(golden, 'file-dict-vectors.json')))) {
    const path = join(golden, `file-dict-vectors/${name}.file.dict`);
    await pick(page, 'Open files', path);
    await page.locator('.facts dd.path', { hasText: `${name}.file.dict` }).or(page.locator('.message.bad')).first().waitFor();
    await show(page, 'Log');
    const parts = await page.locator('.log .body .row').evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll('.offset, .length')].map((cell) => Number(cell.textContent.replace(/\D/g, '')))));
    if (!parts.length) assert.ok(await page.locator('.message').count(), `${name}: neither a log nor a message`);
    else {
      let at = 0;
      for (const [offset, length] of parts) {
        assert.equal(offset, at, name);
        at += length;
      }
      assert.equal(at, readFileSync(path).length, name);
    }
    await page.getByRole('button', { name: 'Close all' }).click();
  }
});

onPage('a file is shown decrypted beside what is on disk', async (page, t) => {
  await vault(page, t);
  await openFile(page, '004096');
  await side(page, 'Decrypted').waitFor();
  const plain = readFileSync(join(golden, 'plain/4096.bin'));
  const disk = readFileSync(join(golden, 'v2-file-aes128-ctr/data/4096.enc'));
  assert.equal(await bytesAt(page, 'Decrypted'), plain.subarray(0, WINDOW).toString('hex'));
  assert.equal(await bytesAt(page, 'On disk'), disk.subarray(0, WINDOW).toString('hex'));
  await page.locator('.sides').press('End');
  await page.locator(`.sides[data-offset="${4096 - WINDOW}"]`).waitFor();
  assert.equal(await bytesAt(page, 'Decrypted'), plain.subarray(-WINDOW).toString('hex'));
});

onPage('bytes behind 4 GiB of a sparse file are decrypted', async (page, t) => {
  const { key, entry } = await vault(page, t);
  await openFile(page, '000001');
  await side(page, 'Decrypted').waitFor();
  for (const offset of [2 ** 32 + 4096, HUGE - 40]) {
    await goTo(page, offset);
    const first = Math.floor(offset / 16) * 16;
    await page.locator(`.sides[data-offset="${first}"]`).waitFor();
    const length = Math.min(WINDOW, HUGE - first);
    const expected = ctr('aes128-ctr', key, entry('000001.sst').iv, Buffer.alloc(length), BigInt(first));
    assert.equal(await bytesAt(page, 'Decrypted'), expected.toString('hex'));
    assert.equal(await bytesAt(page, 'On disk'), '00'.repeat(length));
  }
  await page.getByRole('textbox', { name: 'Offset' }).fill('6 GiB');
  await page.getByRole('button', { name: 'Go', exact: true }).click();
  await page.locator('.said', { hasText: 'An offset is a number' }).waitFor();
});

onPage('the right key is told from noise, and labels from bytes', async (page, t) => {
  await vault(page, t);
  await openFile(page, '000015');
  await message(page, 'Right key: the content is recognised as RocksDB SST');
  await openFile(page, 'temp-1');
  await message(page, 'Right key: the content is recognised as JSON');
  await openFile(page, '000017');
  await message(page, 'Label and bytes disagree: the file is not encrypted');
  await openFile(page, '004096');
  await message(page, 'Noise: a wrong key');
  await openFile(page, 'stray.log');
  await message(page, 'Not encrypted: ASCII text');
});

onPage('a search finds what stands there', async (page, t) => {
  const { table } = await vault(page, t);
  await openFile(page, '000015');
  await page.getByRole('combobox', { name: 'As', exact: true }).selectOption('hex');
  await page.getByLabel('Find in').fill('f7cff485b741e288');
  await page.getByRole('button', { name: 'Find', exact: true }).click();
  await page.locator('.said', { hasText: `(0x${(table.length - 8).toString(16)})` }).waitFor();
  await page.locator('.side mark').first().waitFor();
  await page.getByRole('button', { name: 'Find', exact: true }).click();
  await page.locator('.said', { hasText: 'Not from byte' }).waitFor();
});

onPage('a file without a fitting name is bound to its entry by hand', async (page) => {
  const name = 'v2-file-sm4-ctr';
  await pick(page, 'Open files', ['key.dict', 'file.dict', 'data/4095.enc'].map((file) => join(golden, name, file)));
  await useKey(page, masterKeys.A);
  await openFile(page, '4095.enc');
  await message(page, 'The entry of this file may be missing');
  await page.getByLabel('Read as the entry').fill('004095.sst');
  await page.getByRole('button', { name: 'Use', exact: true }).click();
  await side(page, 'Decrypted').waitFor();
  assert.equal(await bytesAt(page, 'Decrypted'), readFileSync(join(golden, 'plain/4095.bin')).subarray(0, WINDOW).toString('hex'));
});

for (const way of ['a stream to disk', 'a Blob']) {
  onPage(`a download is the plaintext, byte for byte, by way of ${way}`, async (page, t) => {
    await vault(page, t);
    await openFile(page, '1048579');
    await side(page, 'Decrypted').waitFor();
    const expected = await readFile(join(golden, 'plain/1048579.bin'));
    const button = page.getByRole('button', { name: 'Download decrypted' });
    if (way === 'a Blob') {
      await page.evaluate(() => delete globalThis.showSaveFilePicker && delete Window.prototype.showSaveFilePicker);
      const [download] = await Promise.all([page.waitForEvent('download'), button.click()]);
      assert.equal(download.suggestedFilename(), '1048579.sst.decrypted');
      assert.ok(expected.equals(await readFile(await download.path())));
    } else {
      // A real file handle, of the browser's own file system, since nobody can answer the dialogue here.
      await page.evaluate(() => {
        globalThis.showSaveFilePicker = async ({ suggestedName }) => (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true });
      });
      await button.click();
      await page.locator('.said', { hasText: 'Saved' }).waitFor();
      const saved = await page.evaluate(async () => {
        const handle = await (await navigator.storage.getDirectory()).getFileHandle('1048579.sst.decrypted');
        const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
        // As text, since an array of numbers takes a browser's connection seconds.
        let text = '';
        for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
        return btoa(text);
      });
      assert.ok(expected.equals(Buffer.from(saved, 'base64')));
    }
  });
}

onPage('a key that is missing is named, with what to try', async (page, t) => {
  const { path } = await makeVault(await folder(t));
  await pick(page, 'Open files', [join(golden, 'v2-file-sm4-ctr/key.dict'), join(path, 'file.dict'), join(path, 'db/004096.sst')]);
  await useKey(page, masterKeys.A);
  await page.locator('.keys .tag.missing').waitFor();
  await openFile(page, '004096');
  await message(page, 'The key of this file is missing from key.dict');
});

onPage('sealed objects open, and say why when they don’t', async (page, t) => {
  const sealed = JSON.parse(readFileSync(join(vectors, 'sealed/v1.json')));
  const objects = Array.isArray(sealed) ? sealed : sealed.objects;
  const small = objects.find(({ suite, object, context, plaintext }) => suite.endsWith('-gcm') && object && !Object.keys(context).length && plaintext.length > 0);
  const bound = objects.find(({ object, context, plaintext }) => object && Object.keys(context).length && plaintext.length > 0);
  const path = await folder(t);
  const future = Buffer.from(small.object, 'hex');
  future[8] = 9;
  const files = { 'small.sealed': Buffer.from(small.object, 'hex'), 'bound.sealed': Buffer.from(bound.object, 'hex'), 'future.sealed': future };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content);
  const plaintext = ({ length }) => Buffer.from(Array.from({ length }, (_, i) => (7 * i + Math.floor(i / 251)) & 255));

  await pick(page, 'Open files', join(path, 'small.sealed'));
  await message(page, 'give the master key');
  await useKey(page, masterKeys.A);
  await message(page, 'None of the object’s recipients');
  await page.getByRole('button', { name: 'Forget key' }).click();
  await useKey(page, small.master_keys[0]);
  await message(page, 'The sealed object is open');
  await side(page, 'Decrypted').waitFor();
  const whole = plaintext(small.plaintext);
  assert.equal(await bytesAt(page, 'Decrypted'), whole.subarray(0, WINDOW).toString('hex'));
  await pick(page, 'Open files', join(path, 'future.sealed'));
  await message(page, 'A sealed object that this page can’t read');
  await pick(page, 'Open files', join(path, 'bound.sealed'));
  await page.getByRole('button', { name: 'Forget key' }).click();
  await useKey(page, bound.master_keys[0]);
  await message(page, 'Wrong encryption context');
  await page.getByLabel('Encryption context').fill(Object.entries(bound.context).map((pair) => pair.join('=')).join('\n'));
  await page.getByRole('button', { name: 'Open with it' }).click();
  await message(page, 'The sealed object is open');

  // Its second chunk, which is behind the first one's tag.
  const long = objects.find(({ file }) => file === 'aes256-gcm-12-10000.sealed');
  await page.getByRole('button', { name: 'Forget key' }).click();
  await useKey(page, long.master_keys[1]);
  await pick(page, 'Open files', join(vectors, 'sealed', long.file));
  await page.locator('h2.path', { hasText: long.file }).waitFor();
  await message(page, 'The sealed object is open');
  await goTo(page, 4096 + 32);
  await page.locator(`.sides[data-offset="${4096 + 32}"]`).waitFor();
  assert.equal(await bytesAt(page, 'Decrypted'), plaintext(long.plaintext).subarray(4128, 4128 + WINDOW).toString('hex'));
  const stored = readFileSync(join(vectors, 'sealed', long.file));
  const body = stored.length - 10000 - 3 * 16;
  assert.equal(await bytesAt(page, 'On disk'), stored.subarray(body + 4128 + 16, body + 4128 + 16 + WINDOW).toString('hex'));
});

onPage('a page file of TiFlash is decrypted under the initialization vector of its name', async (page, t) => {
  const { path, key, entry } = await vault(page, t);
  await openFile(page, '004096');
  await page.getByText('Another file, or a page file').click();
  await page.getByLabel('TiFlash page file name').fill('page_1');
  await page.locator('form', { hasText: 'TiFlash' }).getByRole('button', { name: 'Use' }).click();
  const [iv, digest] = [Buffer.from(entry('004096.sst').iv, 'hex'), createHash('md5').update('page_1').digest()];
  const expected = ctr('aes128-ctr', key, iv.map((byte, at) => byte ^ digest[at]).toString('hex'), readFileSync(join(path, 'db/004096.sst')));
  await page.locator('.side .bytes', { hasText: expected.subarray(0, 8).toString('hex').replace(/..(?!$)/g, '$& ') }).first().waitFor();
  assert.equal(await bytesAt(page, 'Decrypted'), expected.subarray(0, WINDOW).toString('hex'));
});

onPage('a key that comes or goes changes what is open, and not the view', async (page, t) => {
  await vault(page, t, null);
  await openFile(page, '000015');
  await message(page, 'give the master key');
  await show(page, 'Overview');
  await useKey(page, masterKeys.A);
  await page.locator('.keys .tag.current').waitFor();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await show(page, 'File');
  await message(page, 'Right key');
  await page.getByRole('button', { name: 'Forget key' }).click();
  await message(page, 'give the master key');
  assert.equal(await side(page, 'Decrypted').count(), 0);
});

onPage('bad input gives a message, and the page goes on', async (page, t) => {
  const path = await folder(t);
  const put = async (name, content, length) => {
    await writeFile(join(path, name), content);
    if (length) truncateSync(join(path, name), length);
    return join(path, name);
  };
  const cases = [
    [await put('key.dict', ''), 'key.dict is empty'],
    [await put('file.dict', ''), 'file.dict is empty'],
    [await put('cut.file.dict', Buffer.from('02', 'hex')), 'file.dict is damaged or cut off'],
    [await put('cut.key.dict', readFileSync(join(golden, 'v2-file-aes128-ctr/key.dict')).subarray(0, 70)), 'key.dict is damaged or cut off'],
    [join(golden, 'file-dict-vectors/version-3.file.dict'), 'file.dict is of a version or kind'],
    [await put('huge.file.dict', '', 3 * 2 ** 30), 'file.dict is too large to be a dictionary'],
    [await put('huge.key.dict', '', 3 * 2 ** 30), 'key.dict is too large to be a dictionary'],
    [join(golden, 'kms/AWS/key.dict'), 'sealed by the key service AWS'],
    [await put('empty.sst', ''), 'The file is empty'],
    [await put('huge.sst', '', 3 * 2 ** 30), 'Zeros on disk: probably never written'],
  ];
  for (const [file, words] of cases) {
    await pick(page, 'Open files', file);
    await message(page, words);
    await page.getByRole('button', { name: 'Close all' }).click();
  }
  await pick(page, 'Open directory', join(here, 'src'));
  await message(page, 'No dictionary among these files');
});

onPage('nothing but the keyboard is needed', async (page, t) => {
  await vault(page, t, null);
  // From the top: to the key's field, to the view Files, to its first row, into a file, to its bytes.
  const tabTo = async (locator) => {
    for (let times = 0; times < 60; times++) {
      if (await locator.evaluate((element) => element === document.activeElement)) return;
      await page.keyboard.press('Tab');
    }
    assert.fail(`Tab never came to ${locator}`);
  };
  await tabTo(page.getByLabel('Master key'));
  await page.keyboard.type(masterKeys.A);
  await page.keyboard.press('Enter');
  await page.locator('.keys .tag.current').waitFor();
  await page.evaluate(() => document.activeElement.blur());
  await tabTo(page.locator('nav button').nth(1));
  await page.keyboard.press('Enter');
  await page.locator('[data-row="0"]').waitFor();
  await tabTo(page.locator('[data-row][tabindex="0"]'));
  const wanted = Number(await page.locator('[data-row]', { hasText: '000015.sst' }).getAttribute('data-row'));
  for (const key of ['ArrowDown', 'ArrowDown', 'Home', 'End', 'Home', ...Array.from({ length: wanted }, () => 'ArrowDown')]) await page.keyboard.press(key);
  await page.keyboard.press('Enter');
  await message(page, 'Right key: the content is recognised as RocksDB SST');
  await tabTo(page.getByRole('textbox', { name: 'Offset' }));
  await page.keyboard.type('-8');
  await page.keyboard.press('Enter');
  await page.locator('.side mark').first().waitFor();
  await tabTo(page.locator('.sides'));
  await page.keyboard.press('Home');
  await page.locator('.sides[data-offset="0"]').waitFor();
  assert.match(await side(page, 'Decrypted').locator('.text').first().innerText(), /^a block of keys/);
});

onPage('100 000 entries are searched, filtered and scrolled', async (page, t) => {
  const path = join(await folder(t), 'file.dict');
  await writeFile(path, manyEntries(100_000));
  await pick(page, 'Open files', path);
  await show(page, 'Files');
  await page.locator('.found', { hasText: /100.000 files/ }).waitFor();
  assert.ok((await page.locator('[data-row]').count()) < 100, 'every row is in the page');
  await page.locator('[data-row="0"]').focus();
  await page.keyboard.press('End');
  await page.locator('[data-row="99999"]', { hasText: '099999.sst' }).waitFor();
  await page.getByRole('combobox', { name: 'Key' }).selectOption('7');
  await page.locator('.found', { hasText: /33.333 files of/ }).waitFor();
  await page.getByLabel('Search').fill('04242');
  await page.locator('.found', { hasText: /^[34] files of/ }).waitFor();
});

onPage('the page answers while the largest dictionary is read, and reading can be cancelled', async (page, t) => {
  const path = await folder(t);
  await writeFile(join(path, 'file.dict'), largestFileDict(100_000));
  await pick(page, 'Open files', join(golden, 'v2-file-aes128-ctr/file.dict'));
  await show(page, 'Files');
  await pick(page, 'Open files', join(path, 'file.dict'));
  await page.getByRole('status').filter({ hasText: 'Reading file.dict, 1' }).waitFor();
  await page.screenshot({ path: join(pictures, 'reading.png') });
  // What is typed has its effect, and reading goes on: it can still be cancelled.
  await page.getByLabel('Search').fill('000015');
  await page.locator('.found', { hasText: '1 file of 10' }).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await message(page, 'Reading was cancelled');
  assert.equal(await page.locator('.found').innerText(), '1 file of 10');
  // Left alone, it is read to its end.
  await pick(page, 'Open files', join(path, 'file.dict'));
  await page.locator('.found', { hasText: /^100.000 files$/ }).waitFor();
  await show(page, 'Log');
  await page.locator('.found', { hasText: /^2.\d\d\d.\d\d\d parts of/ }).waitFor();
  await page.locator('[data-row="0"]').focus();
  await page.keyboard.press('End');
  await page.locator('.log .body .row', { hasText: '099999.sst' }).waitFor();
});

onPage('as many keys as fit into a key.dict, and entries that each have their own, leave the page usable', async (page, t) => {
  const path = await folder(t);
  await writeFile(join(path, 'key.dict'), largestKeyDict());
  await writeFile(join(path, 'file.dict'), fileDict(Array.from({ length: 200_000 }, (_, at) => ({ name: `/${at}`, keyId: BigInt(at) + 7n, iv: Buffer.alloc(16), method: 2 }))));
  await pick(page, 'Open files', [join(path, 'key.dict'), join(path, 'file.dict')]);
  await settled(page);
  await page.locator('.keys', { hasText: /Shown are 500 of \d\d\d.\d\d\d keys/ }).waitFor();
  await show(page, 'Files');
  await page.getByLabel('Key', { exact: true }).fill('100007');
  await page.locator('.found', { hasText: '1 file of 200' }).waitFor();
  await page.locator('.files [data-row="0"]', { hasText: '/100000' }).waitFor();
});

onPage('what reads dictionaries can connect to nothing either', async (page) => {
  // It never hears what to read, and waits.
  await page.evaluate(() => (Worker.prototype.postMessage = () => {}));
  const file = join(golden, 'v2-file-aes128-ctr/file.dict');
  const [worker] = await Promise.all([page.waitForEvent('worker'), pick(page, 'Open files', file)]);
  const outcome = await worker.evaluate(async (address) => {
    const forbidden = new Promise((told) => addEventListener('securitypolicyviolation', ({ effectiveDirective }) => told(effectiveDirective)));
    const answer = await fetch(address).then(() => 'allowed', () => 'refused');
    return answer === 'refused' ? forbidden : answer;
  }, site.server.address);
  assert.equal(outcome, 'connect-src');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await message(page, 'Reading was cancelled');
});

for (const colorScheme of ['light', 'dark']) {
  for (const [width, height] of [[360, 740], [1600, 900]]) {
    onPage(`every view is readable and accessible at ${width} px, ${colorScheme}`, async (page, t) => {
      const check = async (view) => {
        await page.screenshot({ path: join(pictures, `${view}-${width}-${colorScheme}.png`), fullPage: width === 360 });
        const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(inner <= outer, `${view}: the page is ${inner} px wide in a window of ${outer}`);
        if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axe);
        const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }));
        const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
        assert.deepEqual(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).slice(0, 3).join(' ')}`), [], view);
      };
      await check('welcome');
      await vault(page, t, masterKeys.B);
      await message(page, 'Wrong master key');
      await check('wrong-key');
      await page.getByRole('button', { name: 'Forget key' }).click();
      await useKey(page, masterKeys.A);
      await page.locator('.keys .tag.current').waitFor();
      await check('overview');
      await show(page, 'Files');
      await page.locator('[data-row="0"]').waitFor();
      await check('files');
      await openFile(page, '000015');
      await side(page, 'Decrypted').waitFor();
      await check('file');
      await openFile(page, '000017');
      await message(page, 'Label and bytes disagree');
      await check('disagree');
      await page.getByRole('button', { name: 'Close all' }).click();
      await pick(page, 'Open files', join(golden, 'file-dict-vectors/middle-crc-bad.file.dict'));
      await show(page, 'Log');
      await page.locator('.row.damaged').waitFor();
      await check('log');
      await page.getByRole('button', { name: 'Close all' }).click();
      const rotated = goldenCase('rotated-data-keys');
      await pick(page, 'Open directory', join(golden, rotated.dir));
      await useKey(page, masterKeys.A);
      await page.locator('figure svg').waitFor();
      await check('keys');
      await page.getByRole('button', { name: 'Close all' }).click();
      await pick(page, 'Open files', join(vectors, 'sealed/aes256-gcm-12-10000.sealed'));
      await message(page, 'give the master key');
      await check('sealed');
    }, { width, height, colorScheme });
  }
}

onPage('the policy forbids every connection', async (page, _, opened) => {
  const outcome = await page.evaluate(() => fetch('/index.html').then(() => 'allowed', () => 'refused'));
  assert.equal(outcome, 'refused');
  assert.ok(opened.errors.some((error) => /connect-src 'none'/.test(error)), 'refused for another reason');
  opened.errors.length = 0;
});
