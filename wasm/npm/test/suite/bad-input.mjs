// Whatever is thrown in, a StillkeyError comes out, or a result.
import { collect, equal, fromHex, ok, plaintext, seeded, streamOf, thrownBy } from '../harness.mjs';

export function define(stillkey, { test, cases, rounds = 400 }) {
  const { CtrStream, DataKey, Envelope, FileDictionary, KeyDictionary, MasterKey, SealedObject, StillkeyError } = stillkey;

  const refused = async (work, code, message) => {
    const error = await thrownBy(work);
    ok(error instanceof StillkeyError && error instanceof Error, `not a StillkeyError: ${error}`);
    equal([error.name, error.code], ['StillkeyError', code], error.message);
    ok(message.test(error.message), `${error.message} is not like ${message}`);
    return error;
  };

  test('a master key with a typo says at which character, and not what stands there', async () => {
    const good = 'c3d99825f2181f4808acd2068eac7441a65bd428f14d2aab43fefc0129091139';
    const error = await refused(() => MasterKey.fromHex(`${good.slice(0, 40)}x${good.slice(41)}\n`), 'usage', /character 41 /);
    equal([error.reason, error.offset], ['typo', 40]);
    ok(!error.message.includes('x') || !error.message.includes(good.slice(30, 40)), 'the message quotes the key');
    equal((await refused(() => MasterKey.fromHex(` ${good.slice(0, 63)}`), 'usage', /63 .*64/)).reason, 'typo');
    await refused(() => MasterKey.fromHex(''), 'usage', /0 .*64/);
    await refused(() => MasterKey.fromHex(`${good}0`), 'usage', /65 .*64/);
    await refused(() => MasterKey.fromHex('数'.repeat(64)), 'usage', /character 1 /);
    await refused(() => MasterKey.fromBytes(new Uint8Array(31)), 'usage', /32 bytes, not 31/);
    equal(MasterKey.fromHex(`\t${good.toUpperCase()}\r\n`).reference, MasterKey.fromHex(good).reference);
  });

  test('empty, cut-off and foreign files are refused with their place', async () => {
    const key = MasterKey.random();
    const empty = new Uint8Array();
    equal((await refused(() => FileDictionary.parse(empty), 'damaged', /16 bytes needed, 0 found/)).offset, 0);
    await refused(() => KeyDictionary.open(empty, key), 'damaged', /16 bytes needed/);
    await refused(() => SealedObject.open(empty, key), 'damaged', /header/);
    await refused(() => SealedObject.from(new Blob([]), key), 'damaged', /header/);
    await refused(() => collect(streamOf([]).pipeThrough(stillkey.openStream(key))), 'damaged', /header/);
    await refused(() => SealedObject.open(plaintext(300), key), 'unsupported', /not a sealed object/);
    const { bytes } = cases.fileDictionaries.find(({ name }) => name === 'file-dict-vectors/v2-full.file.dict');
    const cut = FileDictionary.parse(fromHex(bytes).slice(0, -1));
    equal(cut.verdict.state, 'torn-tail');
  });

  test('a sealed object of a future version says so', async () => {
    const object = SealedObject.seal(plaintext(10), MasterKey.random());
    object[8] = 2;
    await refused(() => SealedObject.open(object, MasterKey.random()), 'unsupported', /version 2, expected 1/);
    await refused(() => SealedObject.from(new Blob([object]), MasterKey.random()), 'unsupported', /version 2/);
  });

  test('the wrong key and the wrong context are told apart', async () => {
    const key = MasterKey.random();
    const object = SealedObject.seal(plaintext(10), key, { context: { a: 'b' } });
    await refused(() => SealedObject.open(object, MasterKey.random(), { context: { a: 'b' } }), 'wrong-master-key', /none of the keys/);
    equal((await refused(() => SealedObject.open(object, key), 'usage', /wrong encryption context/)).reason, 'wrong-context');
    await refused(() => SealedObject.seal(plaintext(1), []), 'usage', /1 to 64 master keys/);
    await refused(() => SealedObject.seal(plaintext(1), MasterKey.plaintext()), 'usage', /protects nothing/);
    const dictionary = new KeyDictionary();
    await refused(() => KeyDictionary.open(dictionary.seal(MasterKey.plaintext()), key), 'wrong-master-key', /kind/);
    equal((await refused(() => dictionary.dataKey(5, 'sm4-ctr'), 'usage', /no data key with id 5/)).reason, 'not-found');
    await refused(() => dictionary.dataKey(5, 77), 'unsupported', /method number 77/);
  });

  test('what is too long for memory is refused before it is copied', async () => {
    const long = { buffer: null, length: 3 * 2 ** 30 };
    Object.setPrototypeOf(long, Uint8Array.prototype);
    const error = await thrownBy(() => FileDictionary.parse(long));
    ok(error instanceof StillkeyError, `not a StillkeyError: ${error}`);
  });

  test('an option that does not exist is refused by its name', async () => {
    const [key, stream] = [MasterKey.random(), newStream()];
    const opened = await SealedObject.from(SealedObject.seal(plaintext(9), key), key);
    const calls = [
      (options) => stillkey.init(options),
      (options) => FileDictionary.parse(new Uint8Array([2, ...new Array(15).fill(0)]), options),
      (options) => new KeyDictionary().rotationDue(options, true, 0),
      (options) => SealedObject.seal(plaintext(9), key, options),
      (options) => SealedObject.open(SealedObject.seal(plaintext(9), key), key, options),
      (options) => SealedObject.from(SealedObject.seal(plaintext(9), key), key, options),
      (options) => opened.read(0, 1, options),
      (options) => opened.stream(options),
      (options) => stillkey.sealStream(key, options),
      (options) => stillkey.openStream(key, options),
      (options) => stillkey.encryptStream(stream, options),
      (options) => stillkey.decryptBlob(new Blob([]), stream, options),
      (options) => stream.applyAtAsync(0, plaintext(9), options),
    ];
    for (const call of calls) {
      await refused(() => call({ contxt: { a: 'b' } }), 'usage', /no option 'contxt'; there (is|are) .*[a-z]/);
      await refused(() => call({ [Symbol('context')]: 1 }), 'usage', /no option 'Symbol\(context\)'/);
      for (const other of [new Map([['context', {}]]), Object.create({ context: {} }), [], new Date(), () => ({})]) {
        await refused(() => call(other), 'usage', /a plain object is needed, not /);
      }
      await call({});
      await call(Object.create(null));
    }
  });

  test('an encryption context binds as a plain object and as a Map, and is never dropped', async () => {
    const key = MasterKey.random();
    const [context, map] = [{ tenant: '7', '': 'ä' }, new Map([['', 'ä'], ['tenant', '7']])];
    for (const [sealing, opening] of [[context, map], [map, context]]) {
      const object = SealedObject.seal(plaintext(9), key, { context: sealing });
      equal(SealedObject.open(object, key, { context: opening }), plaintext(9));
      const stream = streamOf([object]).pipeThrough(stillkey.openStream(key, { context: opening }));
      equal(await collect(stream), plaintext(9));
      equal((await refused(() => SealedObject.open(object, key), 'usage', /context/)).reason, 'wrong-context');
    }
    const no = [
      [['tenant', '7']], new Set(['a']), new URLSearchParams('tenant=7'), Object.create({ tenant: '7' }), new Date(), 'tenant', 7,
      null, { [Symbol('tenant')]: '7' }, { tenant: 7 }, { tenant: undefined }, { tenant: '\ud800' }, { '\udfff': '7' },
      new Map([['tenant', 7]]), new Map([[7, 'tenant']]), Object.defineProperty({}, 'tenant', { value: 7 }),
    ];
    for (const [i, context] of no.entries()) {
      const error = await refused(() => SealedObject.seal(plaintext(9), key, { context }), 'usage', /^context/);
      equal(error.reason, 'misuse', `case ${i}`);
    }
  });

  test('bytes that were given away are refused, and not taken for none', async () => {
    const key = MasterKey.random();
    const given = new Uint8Array(8);
    structuredClone(given.buffer, { transfer: [given.buffer] });
    for (const bytes of [given, given.buffer]) {
      await refused(() => SealedObject.seal(bytes, key), 'usage', /plaintext: .*transferred/);
      await refused(() => newStream().applyAt(0, bytes), 'usage', /bytes: .*transferred/);
      await refused(() => newStream().applyAtAsync(0, bytes), 'usage', /bytes: .*transferred/);
      await refused(() => Envelope.seal(bytes, key), 'usage', /payload: .*transferred/);
    }
  });

  const newStream = () => new CtrStream(DataKey.random('sm4-ctr'), new Uint8Array(16));

  /** Bytes that look like something: cases with some of their bytes changed, cut off, or put together; and noise. */
  function* arbitrary(count) {
    const next = seeded(20_261);
    const seeds = [...cases.keyDictionaries, ...cases.fileDictionaries, ...cases.envelopes].map(({ bytes }) => fromHex(bytes));
    seeds.push(...cases.sealedObjects.map(({ object }) => fromHex(object)).filter(({ length }) => length < 20_000));
    for (let i = 0; i < count; i++) {
      let bytes = seeds[next(seeds.length)].slice();
      switch (next(5)) {
        case 0:
          bytes = bytes.slice(0, next(bytes.length + 1));
          break;
        case 1:
          bytes = Uint8Array.from({ length: next(400) }, () => next(256));
          break;
        case 2:
          bytes = new Uint8Array([...bytes.slice(0, next(bytes.length + 1)), ...seeds[next(seeds.length)]]);
          break;
        default:
          for (let edits = 1 + next(4); edits && bytes.length; edits--) bytes[next(bytes.length)] = [0, 1, 0x7f, 0x80, 0xff, next(256)][next(6)];
      }
      yield bytes;
    }
  }

  test('arbitrary bytes at every entry point give a result or a StillkeyError', async () => {
    const key = MasterKey.fromBytes(new Uint8Array(32));
    const stream = new CtrStream(DataKey.random('sm4-ctr'), new Uint8Array(16));
    const entries = {
      parse: (bytes) => FileDictionary.parse(bytes).entries.length + FileDictionary.parse(bytes, { reading: 'tikv' }).records.length,
      keys: (bytes) => KeyDictionary.open(bytes, key).keys,
      plaintextKeys: (bytes) => KeyDictionary.open(bytes, MasterKey.plaintext()).keys,
      keySealing: (bytes) => KeyDictionary.sealing(bytes),
      envelope: (bytes) => Envelope.parse(bytes).open(key).length,
      plaintextEnvelope: (bytes) => Envelope.parse(bytes).open(MasterKey.plaintext()).length,
      envelopeSealing: (bytes) => [Envelope.parse(bytes).sealing, Envelope.parse(bytes).toBytes()],
      header: (bytes) => SealedObject.header(bytes),
      open: (bytes) => SealedObject.open(bytes, key),
      from: async (bytes) => (await SealedObject.from(new Blob([bytes]), key)).read(),
      openStream: (bytes) => collect(streamOf([bytes]).pipeThrough(stillkey.openStream(key))),
      masterKey: (bytes) => MasterKey.fromBytes(bytes),
      hex: (bytes) => MasterKey.fromHex(new TextDecoder('latin1').decode(bytes)),
      dataKey: (bytes) => DataKey.fromBytes('aes192-ctr', bytes),
      iv: (bytes) => new CtrStream(DataKey.random('sm4-ctr'), bytes),
      tiflash: (bytes) => stillkey.ivForTiflashFile(bytes, new TextDecoder().decode(bytes)),
      applyAt: (bytes) => stream.applyAt(bytes.length, bytes),
      applyAtAsync: (bytes) => stream.applyAtAsync(bytes.length, bytes),
      decryptBlob: (bytes) => collect(stillkey.decryptBlob(new Blob([bytes]), stream)),
      decryptStream: (bytes) => collect(streamOf([bytes]).pipeThrough(stillkey.decryptStream(stream))),
      seal: (bytes) => SealedObject.seal(bytes, key),
      sealStream: (bytes) => collect(streamOf([bytes]).pipeThrough(stillkey.sealStream(key))),
      sealEnvelope: (bytes) => Envelope.seal(bytes, key),
    };
    await onlyStillkeyErrors(entries, arbitrary(rounds));
  });

  test('values of any type at every entry point give a result or a StillkeyError', async () => {
    const key = MasterKey.random();
    const dictionary = new KeyDictionary();
    const id = dictionary.rotate('sm4-ctr', 0);
    const stream = new CtrStream(dictionary.dataKey(id, 'sm4-ctr'), new Uint8Array(16));
    const opened = await SealedObject.from(SealedObject.seal(plaintext(9), key), key);
    const blob = new Blob(['abc']);
    const files = FileDictionary.parse(fromHex(cases.fileDictionaries[0].bytes));
    const bytes = () => new Uint8Array(4);
    const entries = {
      parse: (v) => FileDictionary.parse(v),
      parseOptions: (v) => FileDictionary.parse(new Uint8Array(16), v),
      reading: (v) => FileDictionary.parse(new Uint8Array(16), { reading: v }),
      fromMessage: (v) => FileDictionary.fromMessage(v),
      messageColumns: (v) => FileDictionary.fromMessage({ ...FileDictionary.parse(new Uint8Array([2, ...new Array(15).fill(0)])).toMessage()[0], entries: v }),
      entryAt: (v) => files.entryAt(v),
      recordAt: (v) => files.recordAt(v),
      nameAt: (v) => files.nameAt(v),
      keyIdAt: (v) => files.keyIdAt(v),
      indexOf: (v) => files.indexOf(v),
      find: (v) => files.find(v),
      get: (v) => files.get(v),
      keysOpen: (v) => KeyDictionary.open(v, key),
      keysOpenKey: (v) => KeyDictionary.open(bytes(), v),
      keysSealing: (v) => KeyDictionary.sealing(v),
      keysSeal: (v) => dictionary.seal(v),
      dataKeyId: (v) => dictionary.dataKey(v, 'sm4-ctr'),
      dataKeyMethod: (v) => dictionary.dataKey(id, v),
      due: (v) => dictionary.rotationDue(v, v, v),
      duePolicy: (v) => dictionary.rotationDue({ method: v, period: v }, true, 0),
      rotate: (v) => dictionary.rotate(v, 0),
      rotateNow: (v) => new KeyDictionary().rotate('sm4-ctr', v),
      fromBytes: (v) => MasterKey.fromBytes(v),
      fromHex: (v) => MasterKey.fromHex(v),
      dataKey: (v) => DataKey.fromBytes(v, bytes()),
      dataKeyBytes: (v) => DataKey.fromBytes('sm4-ctr', v),
      random: (v) => DataKey.random(v),
      streamKey: (v) => new CtrStream(v, new Uint8Array(16)),
      streamIv: (v) => new CtrStream(DataKey.random('sm4-ctr'), v),
      offset: (v) => stream.applyAt(v, bytes()),
      data: (v) => stream.applyAt(0, v),
      asyncOffset: (v) => stream.applyAtAsync(v, bytes()),
      asyncData: (v) => stream.applyAtAsync(0, v),
      tiflash: (v) => stillkey.ivForTiflashFile(v, v),
      encryptStream: (v) => stillkey.encryptStream(v),
      encryptStreamOptions: (v) => stillkey.encryptStream(stream, v),
      encryptOffset: (v) => stillkey.encryptStream(stream, { offset: v }),
      encryptChunk: (v) => collect(streamOf([v]).pipeThrough(stillkey.encryptStream(stream))),
      blob: (v) => stillkey.decryptBlob(v, stream),
      blobInfo: (v) => stillkey.decryptBlob(blob, v),
      blobKeys: (v) => stillkey.decryptBlob(blob, { keys: v, entry: v }),
      blobEntry: (v) => stillkey.decryptBlob(blob, { keys: dictionary, entry: v }),
      blobIv: (v) => stillkey.decryptBlob(blob, { keys: dictionary, entry: { keyId: id, methodNumber: 5, iv: v } }),
      blobRange: (v) => stillkey.decryptBlob(blob, stream, { start: v, end: v }),
      readAll: (v) => stillkey.readAll(v),
      readAllChunk: (v) => stillkey.readAll(streamOf([v])),
      envelope: (v) => Envelope.parse(v),
      envelopeSeal: (v) => Envelope.seal(v, key),
      envelopeKey: (v) => Envelope.seal(bytes(), v),
      envelopeOpen: (v) => Envelope.seal(bytes(), key).open(v),
      header: (v) => SealedObject.header(v),
      seal: (v) => SealedObject.seal(v, key),
      sealKeys: (v) => SealedObject.seal(bytes(), v),
      sealKeyList: (v) => SealedObject.seal(bytes(), [v]),
      sealOptions: (v) => SealedObject.seal(bytes(), key, v),
      sealSuite: (v) => SealedObject.seal(bytes(), key, { suite: v }),
      sealChunk: (v) => SealedObject.seal(bytes(), key, { chunkSize: v }),
      sealContext: (v) => SealedObject.seal(bytes(), key, { context: v }),
      sealContextValue: (v) => SealedObject.seal(bytes(), key, { context: { a: v } }),
      open: (v) => SealedObject.open(v, key),
      from: (v) => SealedObject.from(v, key),
      fromKeys: (v) => SealedObject.from(SealedObject.seal(bytes(), key), v),
      fromOptions: (v) => SealedObject.from(SealedObject.seal(bytes(), key), key, v),
      read: (v) => opened.read(v, v),
      readOptions: (v) => opened.read(0, 1, v),
      stream: (v) => opened.stream(v),
      streamRange: (v) => opened.stream({ start: v, end: v }),
      sealStream: (v) => stillkey.sealStream(v),
      sealStreamOptions: (v) => stillkey.sealStream(key, v),
      openStreamOptions: (v) => stillkey.openStream(key, v),
    };
    const detached = new Uint8Array(8);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const values = [
      undefined, null, true, false, 0, -1, 1.5, NaN, Infinity, 2 ** 53, 2 ** 64, -1n, 2n ** 64n, '', 'text', '\ud800', Symbol('s'), [], [1], {},
      Object.create(null), () => 1, new Date(NaN), new Map(), detached, new Float64Array(2), new DataView(new ArrayBuffer(3)), new ArrayBuffer(0),
      Object.create(MasterKey.prototype), Object.create(CtrStream.prototype), Object.create(DataKey.prototype), Object.create(KeyDictionary.prototype),
      MasterKey.prototype, Promise.resolve(1), new Proxy({}, {}), dictionary, opened,
    ];
    await onlyStillkeyErrors(entries, values);
    equal(stillkey.kernelName().length > 0, true);
  });

  async function onlyStillkeyErrors(entries, inputs) {
    let [results, errors] = [0, 0];
    for (const input of inputs) {
      for (const [name, entry] of Object.entries(entries)) {
        try {
          await entry(input);
          results++;
        } catch (error) {
          ok(error instanceof StillkeyError, `${name}: not a StillkeyError: ${error} ${error?.stack}`);
          ok(error.reason !== 'out-of-memory' && error.message.length > 10, `${name}: ${error.message}`);
          errors++;
        }
      }
    }
    ok(results > 10 && errors > 10, `${results} results, ${errors} errors: too one-sided`);
  }
}
