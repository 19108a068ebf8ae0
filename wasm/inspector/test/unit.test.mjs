// The pure functions, without a browser.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { createServer } from 'vite';

import { here, sstTail } from './support.mjs';

let server;
let bytes, formats, intake, kinds, names, rows, verdict, crc, text, summary, log;

before(async () => {
  server = await createServer({ root: here, configFile: `${here}/vite.config.mjs`, server: { middlewareMode: true, hmr: false, ws: false }, appType: 'custom', optimizeDeps: { noDiscovery: true }, logLevel: 'error' });
  const load = (name) => server.ssrLoadModule(`/src/model/${name}.ts`);
  [bytes, formats, intake, kinds, names, rows, verdict, crc, text, summary, log] = await Promise.all(
    ['bytes', 'formats', 'intake', 'kinds', 'names', 'rows', 'verdict', 'crc32', 'text', 'summary', 'log'].map(load),
  );
});
after(() => server.close());

const sample = (content) => ({ head: content.subarray(0, formats.HEAD), tail: content.subarray(-formats.TAIL), size: content.length });
const detected = (content) => formats.detect(sample(Buffer.from(content)))?.name ?? null;

/** SplitMix32 once more: noise that is the same in each run. */
function noise(length, seed = 1) {
  return Uint8Array.from({ length }, () => {
    seed = (seed + 0x9e3779b9) | 0;
    const z = Math.imul(seed ^ (seed >>> 16), 0x21f0aaad);
    return Math.imul(z ^ (z >>> 15), 0x735a2d97) >>> 24;
  });
}

test('offsets are read as people write them', () => {
  const cases = [
    ['0', 0], ['4096', 4096], ['0x1000', 4096], ['4 GiB', 2 ** 32], ['64k', 65536], ['1 000', 1000], ['1_000', 1000], ['-53', 2 ** 33 - 53],
    ['', null], ['x', null], ['0x', null], ['1.5', null], [String(2 ** 33), null], ['-0', null], ['99999999999999999999', null], ['1 GiBx', null],
  ];
  for (const [text, expected] of cases) assert.equal(bytes.parseOffset(text, 2 ** 33), expected, JSON.stringify(text));
});

test('patterns are whole bytes or text', () => {
  assert.deepEqual([...bytes.parsePattern('f7 CF', 'hex')], [0xf7, 0xcf]);
  assert.equal(bytes.parsePattern('f7c', 'hex'), null);
  assert.equal(bytes.parsePattern('', 'text'), null);
  assert.deepEqual([...bytes.parsePattern('é', 'text')], [0xc3, 0xa9]);
});

test('a pattern is found after beginnings that lead nowhere', () => {
  const find = (content, pattern) => bytes.indexOf(Buffer.from(content), Buffer.from(pattern));
  assert.equal(find('aaab', 'aab'), 1);
  assert.equal(find('abcab', 'abd'), -1);
  assert.equal(find('ab', 'abc'), -1);
  assert.equal(find('xxab', 'ab'), 2);
});

test('sizes, durations and dates are for reading', () => {
  assert.equal(bytes.size(1), '1 byte');
  assert.equal(bytes.size(1536), '1.5 KiB');
  assert.equal(bytes.size(5 * 2 ** 30), '5.0 GiB');
  assert.equal(bytes.duration(86_400 * 3 + 5), '3 days');
  assert.equal(bytes.date(0n), '1970-01-01 00:00 UTC');
  assert.equal(bytes.date(2n ** 63n), `${2n ** 63n} s after 1970`);
});

test('CRC-32C gives the value of RFC 3720', () => {
  assert.equal(crc.crc32c(new Uint8Array(32)), 0x8a9136aa);
});

test('known content is recognised', () => {
  const wal = Buffer.from('\0\0\0\0\x05\0\x01hello', 'latin1');
  const checksum = crc.crc32c(wal.subarray(6));
  wal.writeUInt32LE((((checksum >>> 15) | (checksum << 17)) + 0xa282ead8) >>> 0, 0);
  const cases = [
    [Buffer.concat([noise(500), sstTail]), 'RocksDB SST, block-based table'],
    [wal, 'RocksDB log (WAL or MANIFEST)'],
    ['{"a": 1}', 'JSON'],
    [`PAR1${'x'.repeat(40)}PAR1`, 'Parquet'],
    [`PAR1${'x'.repeat(40)}`, 'Parquet, cut off'],
    [gzipSync('x'), 'gzip'],
    [Buffer.from('28b52ffd0058', 'hex'), 'Zstandard frame'],
    ['RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5', 'raft-engine log'],
    ['a line\nanother line\n', 'ASCII text'],
    ['grüße an alle, die dies lesen', 'UTF-8 text'],
    [Buffer.alloc(100), 'zeros'],
    [noise(4096), null],
    ['', null],
  ];
  for (const [content, expected] of cases) assert.equal(detected(content), expected);
});

test('a log of RocksDB with a changed byte is no longer one', () => {
  const wal = Buffer.alloc(20, 0x90);
  wal.writeUInt16LE(13, 4);
  wal[6] = 1;
  assert.equal(detected(wal), null);
});

test('text that is cut inside a character is text', () => {
  const long = Buffer.from(`ö${'x'.repeat(formats.HEAD - 3)}é and more`);
  assert.equal(formats.detect(sample(long)).name, 'UTF-8 text');
});

test('noise is told from what is not', () => {
  for (let seed = 0; seed < 200; seed++) assert.equal(formats.looksRandom(noise(2048, seed)), true);
  assert.equal(formats.looksRandom(Buffer.from('the quick brown fox jumps over the lazy dog')), false);
  assert.equal(formats.looksRandom(new Uint8Array(31)), null);
});

test('label and bytes are compared', () => {
  const table = sample(Buffer.concat([Buffer.from('x'.repeat(500)), sstTail]));
  const random = sample(Buffer.from(noise(2048)));
  const title = (evidence) => text.read(verdict.judge({ name: 'db/1.sst', ...evidence }).title);
  assert.match(title({ method: 'aes128-ctr', disk: random, plain: table }), /^Right key/);
  assert.match(title({ method: 'aes128-ctr', disk: table, plain: random }), /not encrypted/);
  assert.match(title({ method: 'aes128-ctr', disk: random, plain: random }), /^Noise/);
  assert.match(title({ method: 'plaintext', disk: random, plain: random }), /may disagree/);
  assert.match(title({ method: null, disk: random, plain: random }), /entry of this file may be missing/);
  assert.match(title({ method: null, disk: table, plain: table }), /^Not encrypted/);
  const json = sample(Buffer.from('{"a": "a value of some length"}'));
  assert.match(text.read(verdict.judge({ name: 'db/1.sst', method: 'aes128-ctr', disk: random, plain: json }).text), /suggests a RocksDB table/);
});

const entry = (name, keyId = 1n, method = 'aes128-ctr') => ({ name, keyId, method, methodNumber: method === 'plaintext' ? 1 : 2, iv: new Uint8Array(16) });
const picked = (path, size = 5) => ({ path, file: { size } });

/** As of a dictionary. */
function dictionaryOf(entries) {
  return {
    entryCount: entries.length,
    entryAt: (at) => entries[at],
    nameAt: (at) => entries[at]?.name,
    keyIdAt: (at) => entries[at]?.keyId,
    methodNumberAt: (at) => entries[at]?.methodNumber,
    indexOf: (name) => entries.findIndex((entry) => entry.name === name),
  };
}

function listed(entries, files, keys = new Set([1n]), bound = new Map()) {
  const dictionary = dictionaryOf(entries);
  return rows.list(dictionary, kinds.kindsOf(dictionary), files, keys, bound, async () => true);
}

const all = ({ length, at }) => Array.from({ length }, (_, index) => at(index));
const rowsOf = (listing) => all({ length: listing.length, at: (index) => listing.at(index) });
const methods = new Set(['aes128-ctr']);

test('files are matched to entries by the end of their path', async () => {
  const found = await listed(
    [entry('/data/db/1.sst'), entry('/data/raft/1.sst'), entry('/data/db/2.sst', 9n)],
    [picked('copy/raft/1.sst'), picked('copy/db/1.sst'), picked('copy/other')],
  );
  assert.deepEqual(rowsOf(found).map(({ name, picked: file, state }) => [name, file?.path ?? null, state]), [
    ['/data/db/1.sst', 'copy/db/1.sst', 'ready'],
    ['/data/raft/1.sst', 'copy/raft/1.sst', 'ready'],
    ['/data/db/2.sst', null, 'key missing'],
    ['copy/other', 'copy/other', 'no entry'],
  ]);
  assert.deepEqual(new Map(found.states), new Map([['ready', 2], ['key missing', 1], ['no entry', 1]]));
  assert.deepEqual([...found.keys], [['1', { files: 2, bytes: 10, methods }], ['9', { files: 1, bytes: 0, methods }]]);
});

test('what is counted is what the rows say', async () => {
  const entries = Array.from({ length: 200 }, (_, at) => entry(`/db/${String(at).padStart(3, '0')}`, BigInt(at % 7), at % 11 ? 'aes128-ctr' : 'plaintext'));
  const files = Array.from({ length: 60 }, (_, at) => picked(`db/${String(at * 4).padStart(3, '0')}`, at));
  for (const keys of [null, new Set([1n, 3n, 5n])]) {
    const found = await listed(entries, files, keys);
    const counted = new Map();
    const bytes = new Map();
    for (const { state, key, picked: file } of rowsOf(found)) {
      counted.set(state, (counted.get(state) ?? 0) + 1);
      if (key) bytes.set(key, (bytes.get(key) ?? 0) + (file?.file.size ?? 0));
    }
    assert.deepEqual(new Map(found.states), counted);
    assert.deepEqual(new Map([...found.keys].map(([key, use]) => [key, use.bytes])), bytes);
    assert.ok(counted.get('no entry') > 0 && counted.size > 2);
  }
});

test('a row is found by its name, and by its file', async () => {
  const [of, stray] = [picked('copy/1.sst'), picked('1.sst.bak')];
  const found = await listed([entry('/db/1.sst'), entry('/db/2.sst')], [of, stray]);
  assert.deepEqual(['/db/2.sst', '1.sst.bak', 'copy/1.sst'].map((name) => found.ofName(name)?.name), ['/db/2.sst', '1.sst.bak', undefined]);
  assert.deepEqual([of, stray, picked('copy/1.sst')].map((file) => found.ofFile(file)?.name), ['/db/1.sst', '1.sst.bak', undefined]);
});

test('a file that was bound to an entry is its file, whatever it is called', async () => {
  const file = picked('renamed');
  const found = await listed([entry('/db/1.sst'), entry('/db/2.sst')], [file], new Set([1n]), new Map([['/db/2.sst', file]]));
  assert.deepEqual(rowsOf(found).map(({ state }) => state), ['not picked', 'ready']);
});

test('a query filters and sorts', async () => {
  const found = await listed(
    [entry('/a/one', 10n), entry('/a/two', 9n), entry('/b/ONE', 10n), entry('/b/plain', 0n, 'plaintext')],
    [picked('a/one', 5), picked('a/two', 3), picked('b/ONE', 9), picked('stray', 4)],
    new Set([10n]),
  );
  const names = (query) => all(rows.select(found, { ...rows.everything, sort: 'name', ...query })).map(({ name }) => name);
  const everything = ['/a/one', '/a/two', '/b/ONE', '/b/plain', 'stray'];
  assert.deepEqual(names({}), everything);
  assert.deepEqual(names({ down: true }), everything.toReversed());
  assert.deepEqual(names({ search: 'one' }), ['/a/one', '/b/ONE']);
  assert.deepEqual(names({ search: 'b one' }), ['/b/ONE']);
  assert.deepEqual(names({ key: '9' }), ['/a/two']);
  assert.deepEqual(names({ method: 'plaintext' }), ['/b/plain']);
  assert.deepEqual(names({ state: 'ready' }), ['/a/one', '/b/ONE']);
  assert.deepEqual(names({ state: 'no entry', search: 'r' }), ['stray']);
  assert.deepEqual(names({ sort: 'size', down: true }), ['/b/ONE', '/a/one', 'stray', '/a/two', '/b/plain']);
  // What needs attention first, which is also how the table begins.
  assert.deepEqual(names({ sort: 'state' }), ['/a/two', 'stray', '/b/plain', '/a/one', '/b/ONE']);
  assert.equal(rows.everything.sort, 'state');
  assert.deepEqual(names({ sort: 'method' }), ['stray', '/a/one', '/a/two', '/b/ONE', '/b/plain']);
});

test('roles are told by names', () => {
  const cases = [['a/key.dict', 'key.dict'], ['torn.file.dict', 'file.dict'], ['monkey.dict', 'data'], ['a/1.sst', 'data']];
  for (const [path, role] of cases) assert.equal(intake.roleOf(path), role, path);
});

test('names show what can’t be seen in them', () => {
  const cases = [
    ['a/b c.sst', 'a/b c.sst'],
    ['exe.\u202egnp', 'exe.\\u{202e}gnp'],
    ['a\nb\0', 'a\\nb\\0'],
    ['end ', 'end\\x20'],
    ['zero\u200bwidth\u3164', 'zero\\u{200b}width\\u{3164}'],
    ['\u00a0', '\\u{a0}'],
    ['数据/文件.sst', '数据/文件.sst'],
    ['', '(a name without a character)'],
  ];
  for (const [name, expected] of cases) assert.equal(names.shown(name), expected);
  const long = names.shown('x'.repeat(65_535));
  assert.ok(long.length < 300 && /65.535 characters in all/.test(long), long);
  assert.equal(names.piecesOf('x'.repeat(65_535), true)[0].text.length, 65_535);
  assert.equal(names.asFileName('a\u202eb/c:d'), 'a_b_c_d');
  assert.equal(names.asFileName('..'), 'file');
});

test('each directory with dictionaries is a store, and files belong to their own', () => {
  const files = ['all/a/key.dict', 'all/a/file.dict', 'all/a/db/1.sst', 'all/b/key.dict', 'all/b/file.dict', 'all/b/db/1.sst', 'all/b/backup/file.dict'].map((path) => picked(path));
  const groups = intake.groupsOf(files).map(({ folder, data, fileDicts }) => [folder, data.map(({ path }) => path), fileDicts.length]);
  assert.deepEqual(groups, [['all/a', ['all/a/db/1.sst'], 1], ['all/b', ['all/b/db/1.sst'], 1], ['all/b/backup', [], 1]]);
});

test('an older key.dict is never taken for a newer file.dict unseen', () => {
  const pair = (...paths) => intake.pairOf(intake.groupsOf(paths.map((path) => picked(path)))[0]).map((one) => one?.path ?? null);
  assert.deepEqual(pair('key.dict', 'file.dict', 'old.key.dict', 'old.file.dict'), ['key.dict', 'file.dict']);
  assert.deepEqual(pair('old.key.dict', 'new.file.dict', 'old.file.dict'), ['old.key.dict', 'old.file.dict']);
  assert.deepEqual(pair('old.key.dict', 'older.key.dict', 'file.dict'), [null, 'file.dict']);
  assert.deepEqual(pair('key.dict', 'copy.file.dict'), ['key.dict', 'copy.file.dict']);
});

test('the verdict begins with the worst', () => {
  const grounds = { keyDict: { keys: [], sealing: null, isBroken: false }, fileDict: { version: 2, log: { verdict: { state: 'complete' }, tikv: null, records: 1, size: 99, isZero: false, behind: 0 } }, hasKey: true, hasFiles: true };
  const said = (more) => summary.summarise({ ...grounds, states: new Map(), ...more }).map((finding) => text.read(finding.text));
  assert.deepEqual(said({ states: new Map([['ready', 3], ['no entry', 3], ['key missing', 1]]) }), ['1 file can’t be read: the data key is missing.', '3 files have no entry.', 'The log is whole.', '3 files can be read.']);
  assert.match(said({ keyDict: { keys: [{ isCurrent: true, method: 'plaintext' }], sealing: null, isBroken: false } })[0], /New files are written unencrypted/);
});

test('texts are filled in, with words that fit the number', () => {
  assert.equal(text.t('{n|file|files} of {name}', { n: 1, name: text.say('key {id}', { id: 'x' }) }), '1 file of key x');
  assert.equal(text.t('{n|file|files}', { n: 1234 }), '1\u202f234 files');
  assert.equal(text.preferred(['fr', 'zh-TW', 'en']), 'zh');
  assert.equal(text.preferred([]), 'en');
});
