// Everything that the native library was asked, asked again: cases.json holds its answers.
import { equal, fromHex, ok, plaintext, sha256, toHex } from '../harness.mjs';

export function define(stillkey, { test, cases }) {
  const { CtrStream, DataKey, Envelope, FileDictionary, KeyDictionary, MasterKey, SealedObject } = stillkey;

  const masterKey = (digits) => (digits === 'plaintext' ? MasterKey.plaintext() : MasterKey.fromHex(digits));

  /** In the form of cases.json. */
  const outcome = (work) => {
    try {
      return { ok: work() };
    } catch (error) {
      ok(error instanceof stillkey.StillkeyError, `not a StillkeyError: ${error}`);
      const { code, offset = null, message } = error;
      return { error: { code, offset, message } };
    }
  };

  test('counter mode gives the bytes of the native library, in place and in the background', async () => {
    for (const { method, key, iv, offset, length, sha256: expected } of cases.ctr) {
      const stream = new CtrStream(DataKey.fromBytes(method, fromHex(key)), fromHex(iv));
      const what = `${method}, ${length} bytes at ${offset}`;
      const data = plaintext(length);
      const later = await stream.applyAtAsync(BigInt(offset), data);
      stream.applyAt(BigInt(offset), data);
      equal(await sha256(data), expected, what);
      equal(await sha256(later), expected, `${what}, in the background`);
      stream.free();
    }
  });

  test('the initialization vectors of TiFlash are those of the native library', () => {
    for (const { iv, fileName, result } of cases.tiflashIvs) {
      equal(toHex(stillkey.ivForTiflashFile(fromHex(iv), fileName)), result, fileName);
    }
  });

  test('master keys have the references of the native library', () => {
    for (const { hex, reference } of cases.masterKeys) {
      equal(MasterKey.fromHex(hex).reference, reference);
      equal(MasterKey.fromBytes(fromHex(hex.trim())).reference, reference);
    }
  });

  test('key dictionaries open, or fail, as with the native library', () => {
    for (const { name, bytes, sealing, opened } of cases.keyDictionaries) {
      const file = fromHex(bytes);
      equal(outcome(() => KeyDictionary.sealing(file)), sealing, name);
      for (const [digits, expected] of Object.entries(opened)) {
        equal(outcome(() => showKeys(KeyDictionary.open(file, masterKey(digits)))), expected, `${name} under ${digits}`);
      }
    }
  });

  const showKeys = (dictionary) => ({
    currentKeyId: String(dictionary.currentKeyId),
    keys: dictionary.keys.map((entry) => ({
      ...entry,
      id: String(entry.id),
      creationTime: String(entry.creationTime),
      dataKey: outcome(() => {
        const key = dictionary.dataKey(entry.id, entry.methodNumber);
        return key && toHex(key.dangerExport());
      }),
    })),
  });

  test('file dictionaries are read, or fail, as with the native library', () => {
    for (const { name, bytes, strict, tikv } of cases.fileDictionaries) {
      for (const [reading, expected] of Object.entries({ strict, tikv })) {
        const found = outcome(() => showFiles(FileDictionary.parse(fromHex(bytes), { reading })));
        equal(found, expected, `${name}, read as ${reading}`);
      }
    }
  });

  const showFiles = ({ version, entries, records, verdict }) => ({
    version,
    entries: entries.map(showEntry),
    records: records.map((record) => ({ ...record, entry: record.entry && showEntry(record.entry) })),
    verdict: withoutFinding(verdict),
  });

  /** What the native library says in words. */
  const wordsOf = {
    checksum: /checksum [0-9a-f]{8} stored/,
    'intact-record-inside': /an intact record follows/,
    'record-type-0': /record type 0/,
    'record-type': /record type [1-9]/,
    'type-mismatch': /its type byte was changed/,
    'remove-of-absent': /which is not in the dictionary/,
  };

  function withoutFinding({ finding, ...verdict }) {
    if (verdict.state === 'corrupt') ok(wordsOf[finding]?.test(verdict.why), `${finding}: ${verdict.why}`);
    if (verdict.state === 'torn-tail') ok(['cut-off', 'checksum'].includes(finding), finding);
    return verdict;
  }

  test('what is whole behind damage is salvaged', () => {
    const { bytes, strict } = cases.fileDictionaries.find(({ name }) => name.includes('middle-crc-bad'));
    const { dictionary, lost, bytes: repaired } = FileDictionary.salvage(fromHex(bytes));
    ok(dictionary.recordCount > strict.ok.records.length && dictionary.verdict.state === 'complete');
    equal(lost.map(({ offset }) => offset), [strict.ok.verdict.at]);
    const read = FileDictionary.parse(repaired);
    equal(read.entries.map(({ name }) => name), dictionary.entries.map(({ name }) => name));
    equal(FileDictionary.salvage(repaired).lost, []);
  });
  const showEntry = (entry) => ({ ...entry, keyId: String(entry.keyId), iv: toHex(entry.iv) });

  test('envelopes open, or fail, as with the native library', () => {
    for (const { bytes, sealing, opened } of cases.envelopes) {
      equal(outcome(() => Envelope.parse(fromHex(bytes)).sealing), sealing);
      for (const [digits, expected] of Object.entries(opened)) {
        const open = () => toHex(Envelope.parse(fromHex(bytes)).open(masterKey(digits)).dangerExport());
        equal(outcome(open), expected, `${bytes} under ${digits}`);
      }
    }
  });

  test('sealed objects open, or fail, as with the native library', async () => {
    for (const { name, object, masterKeys, context, header, opened } of cases.sealedObjects) {
      const bytes = fromHex(object);
      const keys = masterKeys.map(masterKey);
      equal(outcome(() => ({ ...SealedObject.header(bytes), iv: toHex(SealedObject.header(bytes).iv) })), header, name);
      const found = outcome(() => SealedObject.open(bytes, keys, { context }));
      if (found.ok) found.ok = { length: found.ok.length, sha256: await sha256(found.ok) };
      equal(found, opened, name);
    }
  });

}
