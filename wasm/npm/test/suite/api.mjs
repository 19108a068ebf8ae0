// What the API promises beyond the vectors: handles, round trips, positions, secrets.
import { equal, ok, plaintext, thrownBy, toHex } from '../harness.mjs';

export function define(stillkey, { test, kernel }) {
  const { CtrStream, DataKey, Envelope, FileDictionary, KeyDictionary, MasterKey, Method, SealedObject } = stillkey;

  test('the module that was asked for is the one that runs', () => equal(stillkey.kernelName(), kernel));

  test('init may be called again', async () => {
    await stillkey.init();
    await Promise.all([stillkey.init(), stillkey.init({ preferSimd: false })]);
    equal(stillkey.kernelName(), kernel);
  });

  test('methods have their names, numbers and key lengths', () => {
    equal(stillkey.methods.map(({ name, number, keyLength }) => [name, number, keyLength]), [
      ['plaintext', 1, 0], ['aes128-ctr', 2, 16], ['aes192-ctr', 3, 24], ['aes256-ctr', 4, 32], ['sm4-ctr', 5, 16],
    ]);
    equal(Object.values(Method), stillkey.methods.map(({ name }) => name));
    for (const { name, keyLength } of stillkey.methods.slice(1)) {
      equal(DataKey.random(name).dangerExport().length, keyLength);
    }
  });

  test('a piece decrypts from any offset, as number or bigint, in any view', () => {
    const stream = new CtrStream(DataKey.random('sm4-ctr'), new Uint8Array(16).fill(0xff));
    const whole = plaintext(200_000);
    stream.applyAt(0, whole);
    for (const [offset, length] of [[0, 1], [77, 1000], [65_535, 2], [131_071, 68_929]]) {
      const piece = whole.slice(offset, offset + length);
      stream.applyAt(BigInt(offset), new DataView(piece.buffer));
      equal(piece, plaintext(200_000).slice(offset, offset + length));
    }
    const inside = whole.slice();
    stream.applyAt(11, inside.subarray(11, 20));
    equal(inside.slice(11, 20), plaintext(20).slice(11));
    equal(inside.slice(20), whole.slice(20));
    for (const type of [ArrayBuffer, globalThis.SharedArrayBuffer ?? ArrayBuffer]) {
      const buffer = new type(5);
      new Uint8Array(buffer).set(whole.slice(0, 5));
      stream.applyAt(0, buffer);
      equal(new Uint8Array(buffer), plaintext(5));
    }
  });

  test('the last byte that there is can be encrypted, the one behind it cannot', async () => {
    const stream = new CtrStream(DataKey.random('aes256-ctr'), new Uint8Array(16));
    const last = 2n ** 64n - 1n;
    stream.applyAt(last - 5n, new Uint8Array(5));
    const data = new Uint8Array(6);
    for (const work of [() => stream.applyAt(last - 5n, data), () => stream.applyAtAsync(last - 5n, data)]) {
      const error = await thrownBy(work);
      equal([error.name, error.code], ['StillkeyError', 'usage']);
      equal(data, new Uint8Array(6));
    }
  });

  test('the background gives the same bytes at every alignment, and leaves the source alone', async () => {
    for (const method of ['aes128-ctr', 'aes192-ctr', 'aes256-ctr', 'sm4-ctr']) {
      const stream = new CtrStream(DataKey.random(method), new Uint8Array(16).fill(0xff));
      for (const [offset, length] of [[0, 40_000], [1, 100_000], [15, 65_536], [16, 32_768], [2 ** 40 + 7, 70_000]]) {
        const source = plaintext(length);
        const result = await stream.applyAtAsync(offset, source);
        equal(source, plaintext(length));
        stream.applyAt(offset, source);
        equal(toHex(result.slice(0, 64)), toHex(source.slice(0, 64)), `${method} at ${offset}`);
        ok(result.every((byte, i) => byte === source[i]), `${method} at ${offset}`);
      }
    }
  });

  test('a freed handle says so, and freeing it again is harmless', async () => {
    const key = MasterKey.random();
    const dataKey = DataKey.random('aes256-ctr');
    const stream = new CtrStream(dataKey, new Uint8Array(16));
    const dictionary = new KeyDictionary();
    const envelope = Envelope.seal(new Uint8Array(3), key);
    const secret = envelope.open(key);
    const object = await SealedObject.from(SealedObject.seal(new Uint8Array(9), key), key);
    const uses = [
      [secret, () => secret.dangerExport()],
      [envelope, () => envelope.toBytes()],
      [dictionary, () => dictionary.keys],
      [stream, () => stream.applyAt(0, new Uint8Array(1))],
      [stream, () => stream.applyAtAsync(0, new Uint8Array(1 << 20))],
      [object, () => object.read()],
      [dataKey, () => new CtrStream(dataKey, new Uint8Array(16))],
      [key, () => SealedObject.seal(new Uint8Array(1), key)],
      [key, () => key.dangerExport()],
    ];
    for (const [handle, use] of uses) {
      handle.free();
      handle.free();
      ok(handle.isFreed, 'a freed handle knows it');
      const error = await thrownBy(use);
      equal([error.name, error.code, error.reason], ['StillkeyError', 'usage', 'freed']);
    }
  });

  test('handles can be disposed of', () => {
    if (!Symbol.dispose) return;
    const key = MasterKey.random();
    key[Symbol.dispose]();
    ok(key.isFreed, 'disposing frees');
  });

  test('handles show no key', () => {
    const key = MasterKey.fromBytes(new Uint8Array(32).fill(0xab));
    const data = DataKey.fromBytes('aes128-ctr', new Uint8Array(16).fill(0xab));
    const shown = [key, data].map((handle) => `${JSON.stringify(handle)}${String(handle)}${Object.getOwnPropertyNames(handle)}`).join();
    ok(!/ab|171/.test(shown), shown);
    equal(key.dangerExport(), new Uint8Array(32).fill(0xab));
    equal(MasterKey.plaintext().dangerExport().length, 0);
    equal([key.isSecure, MasterKey.plaintext().isSecure, MasterKey.plaintext().reference], [true, false, undefined]);
  });

  test('bytes of a key stay the caller\'s: they are copied', () => {
    const bytes = new Uint8Array(32).fill(7);
    const key = MasterKey.fromBytes(bytes);
    const { reference } = key;
    bytes.fill(0);
    equal(key.reference, reference);
  });

  test('a key dictionary is made, rotated, sealed and opened again', () => {
    const [key, now] = [MasterKey.random(), 1_700_000_000];
    const dictionary = new KeyDictionary();
    equal(dictionary.rotationDue({}, true, now), 'no-current-key');
    const id = dictionary.rotate('aes256-ctr', now);
    equal(dictionary.rotationDue({}, true, now), null);
    equal(dictionary.rotationDue({ method: 'sm4-ctr' }, true, now), 'method-changed');
    equal(dictionary.rotationDue({ period: 60 }, true, now + 59), null);
    equal(dictionary.rotationDue({ period: 60n }, true, BigInt(now) + 60n), 'expired');
    equal(dictionary.rotationDue({}, true, now - 1), 'created-in-the-future');
    const opened = KeyDictionary.open(dictionary.seal(key), key);
    equal(opened.keys, [
      { id, method: 'aes256-ctr', methodNumber: 4, creationTime: BigInt(now), wasExposed: false, isCurrent: true, keyLength: 32 },
    ]);
    equal(opened.dataKey(id, 'aes256-ctr').dangerExport(), dictionary.dataKey(id, 4).dangerExport());
    equal(opened.dataKey(12345n, 'plaintext'), null);
    const clear = opened.seal(MasterKey.plaintext());
    equal(KeyDictionary.sealing(clear).method, 'plaintext');
    const exposed = KeyDictionary.open(clear, MasterKey.plaintext());
    equal(exposed.keys[0].wasExposed, true);
    equal(exposed.rotationDue({}, true, now), 'exposed');
    equal(exposed.rotationDue({}, false, now), null);
  });

  test('an envelope round-trips, and says how it is sealed', () => {
    const key = MasterKey.random();
    const envelope = Envelope.parse(Envelope.seal(plaintext(100), key).toBytes());
    equal(envelope.sealing, { method: 'aes256-gcm', vendor: null, wrappedKeyLength: null, payloadLength: 100 });
    const secret = envelope.open(key);
    equal([secret.length, secret.dangerExport()], [100, plaintext(100)]);
  });

  test('entries and their records are handed over by the hundred thousand', () => {
    const dictionary = FileDictionary.parse(largeFileDictionary(100_000));
    const { entries, records } = dictionary;
    equal([entries.length, records.length, dictionary.verdict.state], [100_000, 100_000, 'complete']);
    const name = '/data/dir/000077777.sst';
    equal(dictionary.get(name), records[77_777].entry);
    equal([dictionary.find(name).keyId, dictionary.find('no such')], [7n, undefined]);
  });

  test('a dictionary moves to another thread and is the same there', () => {
    const shown = ({ version, verdict, entries, records }) => ({ version, verdict, entries, records });
    const dictionary = FileDictionary.parse(fileDictionary(['b', 'ä', '']).slice(0, -3));
    const before = structuredClone(shown(dictionary));
    const [message, transfer] = dictionary.toMessage();
    const moved = FileDictionary.fromMessage(structuredClone(message, { transfer }));
    equal(shown(moved), before);
    equal([moved.verdict.state, moved.entryCount, moved.recordCount, moved.get('ä').keyId], ['torn-tail', 2, 2, 7n]);
    equal(transfer.map(({ byteLength }) => byteLength), transfer.map(() => 0), 'copied, not moved');
  });

  test('a dictionary that was handed over says so, and what it gave before stays', () => {
    const dictionary = FileDictionary.parse(fileDictionary(['a', 'b']));
    const [before] = dictionary.entries;
    const [message, transfer] = dictionary.toMessage();
    structuredClone(message, { transfer });
    const uses = [
      () => dictionary.entries, () => dictionary.records, () => dictionary.entryAt(0), () => dictionary.recordAt(0), () => dictionary.nameAt(0),
      () => dictionary.keyIdAt(0), () => dictionary.methodNumberAt(0), () => dictionary.indexOf('a'), () => dictionary.find('a'), () => dictionary.get('a'),
      () => dictionary.toMessage(), () => FileDictionary.fromMessage(message),
    ];
    for (const use of uses) {
      let error;
      try {
        use();
      } catch (caught) {
        error = caught;
      }
      equal([error?.name, error?.code], ['StillkeyError', 'usage'], String(use));
      ok(/handed over|memory is gone/.test(error.message), error.message);
    }
    equal([before.name, before.iv], ['a', new Uint8Array(16).fill(1)]);
  });

  test('entries and records are had one by one as well', () => {
    const dictionary = FileDictionary.parse(fileDictionary(['b', 'a']));
    equal([0, 1].map((at) => dictionary.entryAt(at)), dictionary.entries);
    equal([0, 1].map((at) => dictionary.recordAt(at)), dictionary.records);
    equal([0, 1].map((at) => [dictionary.nameAt(at), dictionary.keyIdAt(at), dictionary.methodNumberAt(at)]), dictionary.entries.map(({ name, keyId, methodNumber }) => [name, keyId, methodNumber]));
    const nothing = [-1, 2, 0.5, NaN].flatMap((at) => ['entryAt', 'recordAt', 'nameAt', 'keyIdAt', 'methodNumberAt'].map((what) => dictionary[what](at)));
    equal(nothing, new Array(20).fill(undefined));
  });

  test('an entry is found by its name, and by nothing like it', () => {
    const names = ['', 'a', 'aa', 'ab', 'b', 'ä', '\uffee', '\uffed', '\ufffd', '\u{1f600}', 'x'.repeat(300)];
    for (let count = 0; count <= names.length; count++) {
      const dictionary = FileDictionary.parse(fileDictionary(names.slice(0, count)));
      equal(dictionary.entries.map(({ name }) => dictionary.indexOf(name)), Array.from({ length: count }, (_, at) => at));
      for (const other of ['aaa', 'A', '\0', 'ä ', '\ud83d', '\udfff', '\u{1f601}', ...names.slice(count)]) equal([dictionary.indexOf(other), dictionary.find(other)], [-1, undefined]);
    }
  });

  test('names are sorted by their bytes, whatever they have in common', () => {
    const names = ['/d/12345678b', '/d/12345678a', '/d/1234567', '/d/', '/d/12345678', '/d/\0', '/d/\0\0', '/d/ä', '/d/zzzzzzzzz'];
    const sorted = [...names].sort((a, b) => (a < b ? -1 : 1));
    for (const some of [names, [...names, ''], [...names, '/e'], ['/d/']]) {
      const expected = sorted.filter((name) => some.includes(name));
      const found = FileDictionary.parse(fileDictionary(some)).entries.map(({ name }) => name);
      equal(found, some.includes('') ? ['', ...expected] : some.includes('/e') ? [...expected, '/e'] : expected);
    }
    equal(FileDictionary.parse(fileDictionary([])).entries, []);
  });

  test('names beyond ASCII keep their boundaries', () => {
    const names = ['a', 'ä', '数据', '𐍈𐍈', '', 'z'];
    const file = fileDictionary(names);
    const { records, entries } = FileDictionary.parse(file);
    equal(records.map(({ name }) => name), names);
    equal(entries.map(({ name }) => name).sort(), [...names].sort());
  });

  function largeFileDictionary(count) {
    return fileDictionary(Array.from({ length: count }, (_, i) => `/data/dir/${String(i).padStart(9, '0')}.sst`));
  }
}

/** The bytes of a version 2 file.dict whose log inserts these names. */
export function fileDictionary(names) {
  // key_id: 7, iv: 16 times 1, method: aes256-ctr
  const info = Uint8Array.of(0x08, 7, 0x12, 16, ...new Array(16).fill(1), 0x18, 4);
  const encoded = names.map((name) => new TextEncoder().encode(name));
  const file = new Uint8Array(16 + encoded.reduce((sum, name) => sum + 9 + name.length + info.length, 0));
  const view = new DataView(file.buffer);
  file[0] = 2;
  let at = 16;
  for (const name of encoded) {
    const body = at + 9;
    file.set(name, body);
    file.set(info, body + name.length);
    const end = body + name.length + info.length;
    view.setUint32(at, crc32(file.subarray(body, end)));
    view.setUint16(at + 4, name.length);
    view.setUint16(at + 6, info.length);
    file[at + 8] = 1;
    at = end;
  }
  return file;
}

/** Bit by bit, for it is about what the bytes are and not how fast they come. */
function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
