// Every parameter and every option of every entry point is given values of every type.
import { collect, equal, ok, plaintext, streamOf, thrownBy } from '../harness.mjs';
import { fileDictionary } from './api.mjs';

export function define(stillkey, { test }) {
  const { CtrStream, DataKey, Envelope, FileDictionary, FileLog, KeyDictionary, MasterKey } = stillkey;
  const { SealedObject, StillkeyError } = stillkey;

  const detached = new Uint8Array(8);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const values = [
    undefined,
    null,
    true,
    false,
    0,
    5,
    -1,
    1.5,
    NaN,
    Infinity,
    2 ** 53,
    2 ** 64,
    -1n,
    1n,
    2n ** 64n,
    '',
    'text',
    '65536',
    '\ud800',
    Symbol('s'),
    [],
    [1],
    {},
    { aborted: true },
    Object.create(null),
    () => 1,
    class {},
    new Date(NaN),
    new Map(),
    new Map([[{}, 1]]),
    new Proxy({}, {}),
    new Error('e'),
    Promise.resolve(1),
    detached,
    detached.buffer,
    new Float64Array(2),
    new DataView(new ArrayBuffer(3)),
    new ArrayBuffer(0),
    new Uint8Array(5),
    new Blob(['abc']),
    AbortSignal.prototype,
    Blob.prototype,
    ReadableStream.prototype,
    ...[MasterKey, DataKey, CtrStream, KeyDictionary, FileDictionary, Envelope]
      .concat(SealedObject, FileLog)
      .flatMap(({ prototype }) => [prototype, Object.create(prototype)]),
  ];

  /** Calls that are right, by name: `Class#method` is called on one of `handles`. */
  async function calls() {
    const key = MasterKey.random();
    const keys = new KeyDictionary();
    const keyId = keys.rotate('sm4-ctr', 0);
    const dataKey = keys.dataKey(keyId, 'sm4-ctr');
    const stream = new CtrStream(dataKey, new Uint8Array(16));
    const object = SealedObject.seal(plaintext(9), key);
    const [envelope, { signal }] = [Envelope.seal(plaintext(9), key), new AbortController()];
    const handles = {
      SealedObject: await SealedObject.from(object, key),
      FileDictionary: FileDictionary.parse(fileDictionary(['a'])),
      // Each call finds it as the first one did.
      get FileLog() {
        return new FileLog(fileDictionary(['a']));
      },
      MasterKey: key,
      DataKey: dataKey,
      CtrStream: stream,
      KeyDictionary: keys,
      Envelope: envelope,
      SecretBytes: envelope.open(key),
    };
    const info = {
      keys,
      entry: { name: 'a', keyId, method: 'sm4-ctr', methodNumber: 5, iv: new Uint8Array(16) },
    };
    const sealing = { suite: 'aes256-gcm', chunkSize: 4096, context: { a: 'b' } };
    const range = { start: 0, end: 2, signal, worker: false };
    const background = { signal, worker: false };
    const [message] = FileDictionary.parse(fileDictionary(['a', 'b'])).toMessage();
    const table = {
      init: [{ preferSimd: true, simd: new Uint8Array(8), plain: new Uint8Array(8), workerScript: '' }],
      kernelName: [],
      ivForTiflashFile: [new Uint8Array(16), 'name'],
      encryptStream: [info, { offset: 0, ...background }],
      decryptStream: [stream, { offset: 0, ...background }],
      decryptBlob: [new Blob(['abc']), info, range],
      readAll: [streamOf([plaintext(9)])],
      sealStream: [[key], { ...sealing, ...background }],
      openStream: [key, { context: {}, ...background }],
      'new CtrStream': [dataKey, new Uint8Array(16)],
      'CtrStream#applyAt': [0, plaintext(9)],
      'CtrStream#applyAtAsync': [0, plaintext(9), background],
      'Envelope.parse': [envelope.toBytes()],
      'Envelope.seal': [plaintext(9), key],
      'Envelope#open': [key],
      'Envelope#toBytes': [],
      'FileDictionary.parse': [fileDictionary(['a']), { reading: 'tikv' }],
      'FileDictionary.salvage': [fileDictionary(['a'])],
      'FileDictionary.fromMessage': [message],
      'FileDictionary#toMessage': [],
      'FileDictionary#entryAt': [0],
      'FileDictionary#recordAt': [0],
      'FileDictionary#nameAt': [0],
      'FileDictionary#keyIdAt': [0],
      'FileDictionary#methodNumberAt': [0],
      'FileDictionary#indexOf': ['a'],
      'FileDictionary#find': ['a'],
      'FileDictionary#get': ['a'],
      'new KeyDictionary': [],
      'KeyDictionary.open': [keys.seal(key), key],
      'KeyDictionary.sealing': [keys.seal(key)],
      'KeyDictionary#seal': [key],
      'KeyDictionary#dataKey': [keyId, 'sm4-ctr'],
      'KeyDictionary#rotationDue': [{ method: 'sm4-ctr', period: 7 }, true, 0],
      'KeyDictionary#rotate': ['sm4-ctr', 0],
      'KeyDictionary#importKey': [dataKey, 0],
      'new FileLog': [fileDictionary(['a'])],
      'FileLog#find': ['a'],
      'FileLog#write': [[{ insert: info.entry }, { remove: 'a' }]],
      'FileLog#compact': [],
      'FileLog#commit': [],
      'FileLog#discard': [],
      'MasterKey.fromBytes': [new Uint8Array(32)],
      'MasterKey.fromHex': ['0'.repeat(64)],
      'MasterKey.random': [],
      'MasterKey.plaintext': [],
      'MasterKey#dangerExport': [],
      'DataKey.fromBytes': ['sm4-ctr', new Uint8Array(16)],
      'DataKey.random': ['sm4-ctr'],
      'DataKey#dangerExport': [],
      'SecretBytes#dangerExport': [],
      'SealedObject.header': [object],
      'SealedObject.seal': [plaintext(9), [key], sealing],
      'SealedObject.sealAsync': [plaintext(9), [key], { ...sealing, ...background }],
      'SealedObject.open': [object, key, { context: {} }],
      'SealedObject.openAsync': [object, key, { context: {}, ...background }],
      'SealedObject.resealHeader': [object, [key], { context: {}, add: [key], remove: [] }],
      'SealedObject.from': [new Blob([object]), [key], { context: {}, ...background }],
      'SealedObject#read': [0, 2, { signal }],
      'SealedObject#stream': [range],
    };
    return { table, handles };
  }

  function called(name, handles) {
    const [, made, type, kind, method] = /^(new )?(\w+)([.#])?(\w+)?$/.exec(name);
    if (made) return (...args) => new stillkey[type](...args);
    if (!method) return stillkey[type];
    return (...args) => (kind === '#' ? handles[type] : stillkey[type])[method](...args);
  }

  test('every entry point is among those that are given wrong values', async () => {
    const { table } = await calls();
    const isClass = (value) => /^class\b/.test(Function.prototype.toString.call(value));
    const methods = (owner) =>
      Object.getOwnPropertyNames(owner).filter((name) => {
        const { value } = Object.getOwnPropertyDescriptor(owner, name);
        return typeof value === 'function' && !['constructor', 'free'].includes(name);
      });
    const all = Object.entries(stillkey).flatMap(([name, value]) => {
      if (typeof value !== 'function' || ['Handle', 'StillkeyError'].includes(name)) return [];
      if (!isClass(value)) return [name];
      return [
        ...methods(value).map((method) => `${name}.${method}`),
        ...methods(value.prototype).map((method) => `${name}#${method}`),
      ];
    });
    equal(
      all.filter((name) => !(name in table)),
      [],
    );
    ok(all.length > 35, `only ${all.length}`);
  });

  test('values of any type at every parameter and option give a result or a StillkeyError', async () => {
    const { table, handles } = await calls();
    for (const name of ['MasterKey', 'DataKey', 'SecretBytes', 'Envelope', 'FileDictionary', 'SealedObject']) {
      const error = await thrownBy(() => new stillkey[name]());
      equal([error.name, error.reason], ['StillkeyError', 'misuse'], error.message);
      ok(error.message.startsWith(`${name}: use ${name}.`) || name === 'SecretBytes', error.message);
    }
    let [results, errors] = [0, 0];
    const failures = [];
    for (const [name, args] of Object.entries(table)) {
      // What the call is made for has to work, or nothing is learnt from others.
      await Promise.resolve().then(() => called(name, handles)(...args)).then(use).catch((error) => {
        if (!['openStream', 'FileLog#commit'].includes(name)) throw new Error(`${name}: ${error.message}`);
      });
      for (const [place, wrong] of substituted(args)) {
        try {
          await use(await called(name, handles)(...wrong));
          results++;
        } catch (error) {
          const what = `${name}, ${place}`;
          const isClear =
            error instanceof StillkeyError &&
            error.reason !== 'out-of-memory' &&
            error.message.length > 10;
          if (isClear) errors++;
          else failures.push(`${what}: ${error}`);
        }
      }
    }
    equal(failures, []);
    ok(results > 500 && errors > 2000, `${results} results, ${errors} errors: too one-sided`);
  });

  test('chunks of any type give a result or a StillkeyError', async () => {
    const key = MasterKey.random();
    const stream = new CtrStream(DataKey.random('sm4-ctr'), new Uint8Array(16));
    const streams = [
      () => stillkey.encryptStream(stream),
      () => stillkey.sealStream(key),
      () => stillkey.openStream(key),
    ];
    for (const make of streams) {
      for (const value of values) {
        const error = await collect(streamOf([value]).pipeThrough(make())).then(
          () => null,
          (error) => error,
        );
        ok(
          error === null || error instanceof StillkeyError,
          `not a StillkeyError: ${error} ${error?.stack}`,
        );
        const read = await stillkey.readAll(streamOf([value])).then(
          () => null,
          (error) => error,
        );
        ok(
          read === null || read instanceof StillkeyError,
          `not a StillkeyError: ${read} ${read?.stack}`,
        );
      }
    }
  });

  /** `args` with each value in each place, and in each place within. */
  function* substituted(args, within = []) {
    for (const [key, part] of Object.entries(args)) {
      const place = [...within, key];
      const changed = (value) =>
        Array.isArray(args) ? replaced(args, key, value) : { ...args, [key]: value };
      for (const value of values) yield [`${place.join('.')} ${typeof value}`, changed(value)];
      const isPlain =
        part && [Object.prototype, Array.prototype].includes(Object.getPrototypeOf(part));
      if (isPlain)
        for (const [where, inner] of substituted(part, place)) yield [where, changed(inner)];
    }
  }

  const replaced = (array, key, value) =>
    array.map((part, i) => (String(i) === key ? value : part));

  /** What comes out is used as well: an object may be wrong without having been refused. */
  async function use(result) {
    if (result instanceof FileDictionary) return [result.entries, result.records, result.find('a')];
    if (result instanceof FileLog) return [result.size, result.write([])];
    if (result instanceof KeyDictionary) return result.keys;
    if (result instanceof SealedObject) return result.read();
    if (result instanceof ReadableStream) return collect(result);
    if (result?.readable) return collect(streamOf([plaintext(20)]).pipeThrough(result));
    return result;
  }
}
