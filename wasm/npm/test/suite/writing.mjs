// What is written: file.dict as a log, data keys that were made elsewhere, headers for other recipients.
import { equal, ok, plaintext, thrownBy } from '../harness.mjs';
import { fileDictionary } from './api.mjs';

export function define(stillkey, { test, cases }) {
  const { DataKey, FileDictionary, FileLog, KeyDictionary, MasterKey, SealedObject } = stillkey;

  const iv = new Uint8Array(16).fill(1);
  const entry = (name, keyId = 7n) => ({ name, keyId, methodNumber: 4, iv });
  /** The file that a write leaves. */
  const written = (file, { kind, bytes }) => new Uint8Array(kind === 'append' ? [...file, ...bytes] : bytes);

  test('a log that is written is one that is read, after every change', () => {
    const [log, names] = [new FileLog(), new Map()];
    let file = new Uint8Array();
    for (let turn = 0; turn < 60; turn++) {
      const changes = [{ insert: entry(`f${turn % 17}`, BigInt(turn)) }];
      names.set(`f${turn % 17}`, BigInt(turn));
      if (turn % 3 === 0) {
        changes.push({ remove: `f${turn % 17}` });
        names.delete(`f${turn % 17}`);
      }
      file = written(file, log.write(changes));
      log.commit();
      if (turn % 20 === 19) {
        file = written(file, log.compact());
        log.commit();
      }
      const { entries, verdict, version } = FileDictionary.parse(file);
      equal([version, verdict.state], [2, 'complete']);
      equal(entries.map(({ name, keyId }) => [name, keyId]), [...names].sort(([a], [b]) => (a < b ? -1 : 1)));
      equal(log.size, names.size);
      const [again, [name]] = [new FileLog(file), [...names.keys()]];
      if (name === undefined) continue;
      equal(again.find(name), log.find(name));
      equal(FileDictionary.parse(file).get(name), log.find(name));
    }
    log.free();
  });

  test('the first write makes the file, the others append, and all changes count or none', async () => {
    const log = new FileLog();
    const first = log.write([{ insert: entry('a') }, { insert: { name: 'b', keyId: 0n, methodNumber: 1, iv: new Uint8Array() } }]);
    equal(first.kind, 'replace');
    equal([log.isPending, log.size], [true, 2]);
    for (const work of [() => log.write([]), () => log.compact()]) ok(/pending/.test((await thrownBy(work)).message), 'two at a time');
    log.commit();
    equal((await thrownBy(() => log.commit())).code, 'usage');
    const wrong = [
      [[{ insert: entry('c') }, { remove: 'no such' }], /no entry is named "no such"/],
      [[{ remove: 'a' }, { remove: 'a' }], /no entry is named "a"/],
      [[{ remove: 'a' }, { insert: { ...entry('c'), iv: new Uint8Array(5) } }], /16 bytes|5/],
      [[{ insert: entry('x'.repeat(65_536)) }], /65,?536|65,?535/],
      [[{ insert: { ...entry('c'), methodNumber: 99 } }], /method number 99/],
      [[{ rename: 'a' }], /insert.*remove/],
      [[{ insert: entry('c'), remove: 'a' }], /insert.*remove/],
    ];
    for (const [changes, message] of wrong) {
      const error = await thrownBy(() => log.write(changes));
      equal(error.name, 'StillkeyError');
      ok(message.test(error.message), error.message);
      equal([log.isPending, log.size, log.find('a').keyId, log.find('c')], [false, 2, 7n, undefined]);
    }
    const lost = log.write([{ insert: entry('a', 9n) }, { remove: 'b' }]);
    equal([lost.kind, log.find('a').keyId], ['append', 9n]);
    log.discard();
    equal([log.find('a').keyId, log.find('b').method, log.size], [7n, 'plaintext', 2]);
    const last = log.write([{ remove: 'b' }]);
    log.commit();
    const file = written(first.bytes, last);
    equal(FileDictionary.parse(file).entries.map(({ name }) => name), ['a']);
  });

  test('a file.dict that is not whole is not written to, and one of version 1 becomes a log', async () => {
    const file = fileDictionary(['a', 'b']);
    const torn = await thrownBy(() => new FileLog(file.slice(0, -1)));
    equal([torn.code, torn.finding, torn.offset], ['damaged', 'record torn', 16 + (file.length - 16) / 2]);
    const changed = file.slice();
    changed[20] ^= 1;
    equal((await thrownBy(() => new FileLog(changed))).code, 'damaged');
    const old = cases.fileDictionaries.find(({ name }) => name === 'v1-file-aes256-ctr/file.dict');
    const bytes = Uint8Array.from(old.bytes.match(/../g), (byte) => Number.parseInt(byte, 16));
    equal(FileDictionary.parse(bytes).version, 1);
    const log = new FileLog(bytes);
    const { kind, bytes: replaced } = log.write([]);
    equal(kind, 'replace');
    const { version, entries } = FileDictionary.parse(replaced);
    equal([version, entries], [2, FileDictionary.parse(bytes).entries]);
  });

  test('a data key that was made elsewhere has an id of its own, once', () => {
    const [keys, master, key] = [new KeyDictionary(), MasterKey.random(), DataKey.random('sm4-ctr')];
    const current = keys.rotate('aes256-ctr', 5);
    const id = keys.importKey(key, 3);
    equal([keys.importKey(DataKey.fromBytes('sm4-ctr', key.dangerExport()), 9), keys.currentKeyId], [id, current]);
    const opened = KeyDictionary.open(keys.seal(master), master);
    const found = opened.keys.find((entry) => entry.id === id);
    equal([found.method, found.creationTime, found.isCurrent], ['sm4-ctr', 3n, false]);
    equal(opened.dataKey(id, 'sm4-ctr').dangerExport(), key.dangerExport());
  });

  test('a header is made for other recipients, and the body stays', async () => {
    const [a, b, c] = [MasterKey.random(), MasterKey.random(), MasterKey.random()];
    const context = { tenant: '7' };
    for (const suite of ['aes256-gcm', 'sm4-ctr']) {
      const object = SealedObject.seal(plaintext(10_000), [a, b], { suite, context });
      const body = object.slice(SealedObject.header(object).length);
      const withHeader = (header) => new Uint8Array([...header, ...body]);
      const header = SealedObject.resealHeader(object, b, { context, add: [c], remove: [a.reference] });
      const resealed = withHeader(header);
      equal(SealedObject.header(resealed).recipients.map(({ reference }) => reference), [b.reference, c.reference]);
      for (const key of [b, c]) equal(SealedObject.open(resealed, key, { context }), plaintext(10_000));
      equal((await thrownBy(() => SealedObject.open(resealed, a, { context }))).code, 'wrong-master-key');
      // The start is enough.
      const start = object.slice(0, SealedObject.header(object).length);
      equal(SealedObject.open(withHeader(SealedObject.resealHeader(start, a, { context, add: [c] })), c, { context }), plaintext(10_000));
      const again = withHeader(SealedObject.resealHeader(object, [a], { context, add: [b] }));
      equal(SealedObject.header(again).recipients.length, 2);
      const wrong = [
        [() => SealedObject.resealHeader(object, c, { context }), 'wrong-master-key', 'wrong-master-key'],
        [() => SealedObject.resealHeader(object, a, {}), 'usage', 'wrong-context'],
        [() => SealedObject.resealHeader(object, a, { context, remove: ['no such'] }), 'usage', 'not-found'],
        [() => SealedObject.resealHeader(object, a, { context, remove: [a.reference, b.reference] }), 'usage', 'misuse'],
        [() => SealedObject.resealHeader(object, a, { context, add: [MasterKey.plaintext()] }), 'usage', 'misuse'],
        [() => SealedObject.resealHeader(object, a, { context, add: a }), 'usage', 'misuse'],
        [() => SealedObject.resealHeader(object.slice(0, 90), a, { context }), 'damaged', 'damaged'],
      ];
      for (const [i, [work, code, reason]] of wrong.entries()) {
        const error = await thrownBy(work);
        equal([error.name, error.code, error.reason], ['StillkeyError', code, reason], `${i}: ${error.message}`);
      }
    }
  });
}
