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
      (options) => SealedObject.sealAsync(plaintext(9), key, options),
      (options) => SealedObject.openAsync(SealedObject.seal(plaintext(9), key), key, options),
      (options) => SealedObject.resealHeader(SealedObject.seal(plaintext(9), key), key, options),
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

  test('numbers are numbers, and a message says what helps in a program', async () => {
    const key = MasterKey.random();
    for (const chunkSize of ['65536', 65536n, [65536], null, 4095, 2 ** 25]) {
      await refused(() => SealedObject.seal(plaintext(9), key, { chunkSize }), 'usage', /^chunkSize: .*power of two/);
    }
    await refused(() => MasterKey.fromBytes(new Uint8Array(31)), 'usage', /32 bytes, not 31.*MasterKey\.random\(\)/);
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
