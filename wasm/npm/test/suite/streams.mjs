// Streams, Blobs, ranges, and what aborting them does.
import { collect, equal, fromHex, ok, plaintext, streamOf, thrownBy } from '../harness.mjs';

export function define(stillkey, { test, cases, byteStreams = true }) {
  const { CtrStream, DataKey, KeyDictionary, MasterKey, SealedObject } = stillkey;
  const { decryptBlob, decryptStream, encryptStream, openStream, sealStream } = stillkey;

  const newStream = (method = 'aes256-ctr') => new CtrStream(DataKey.random(method), new Uint8Array(16).fill(0xff));
  const encrypted = (stream, length) => {
    const bytes = plaintext(length);
    stream.applyAt(0, bytes);
    return bytes;
  };

  test('what is encrypted in chunks of any length decrypts, and the chunks stay as they were', async () => {
    for (const method of ['aes256-ctr', 'sm4-ctr']) {
      const stream = newStream(method);
      const chunks = [plaintext(1), plaintext(0), plaintext(100_000), plaintext(31)];
      const ciphertext = await collect(streamOf(chunks).pipeThrough(encryptStream(stream, { offset: 5 })));
      equal(chunks[2], plaintext(100_000));
      equal(ciphertext.length, 100_032);
      const back = await collect(new Blob([ciphertext]).stream().pipeThrough(decryptStream(stream, { offset: 5n })));
      equal(back, new Uint8Array(await new Blob(chunks).arrayBuffer()));
      ok(!stream.isFreed, 'a stream that was given stays');
    }
  });

  test('a Blob is decrypted, whole and in parts, through a stream or an entry', async () => {
    const stream = newStream();
    const blob = new Blob([encrypted(stream, 2_500_000)]);
    const whole = plaintext(2_500_000);
    equal(await stillkey.readAll(decryptBlob(blob, stream)), whole);
    for (const [start, end] of [[0, 0], [0, 1], [7, 1_048_577], [1_048_576, 2_097_152], [2_499_999, 2_500_000], [2_500_000, 3_000_000]]) {
      equal(await collect(decryptBlob(blob, stream, { start, end: BigInt(end) })), whole.slice(start, end));
    }
    equal(await collect(decryptBlob(new Blob([]), stream)), new Uint8Array());
  });

  test('a range past the end is empty, with an end of its own or without', async () => {
    const [key, stream] = [MasterKey.random(), newStream()];
    const opened = await SealedObject.from(SealedObject.seal(plaintext(5), key), key);
    for (const range of [{ start: 10 }, { start: 10, end: 20 }, { start: 2n ** 64n - 1n }, { start: 5 }]) {
      const { start, end } = range;
      equal(await collect(decryptBlob(new Blob([plaintext(5)]), stream, range)), new Uint8Array());
      equal(await collect(opened.stream(range)), new Uint8Array());
      equal(await opened.read(start, end), new Uint8Array());
    }
  });

  test('an entry finds its key, and a plaintext entry passes bytes as they are', async () => {
    const keys = new KeyDictionary();
    const keyId = keys.rotate('sm4-ctr', 1);
    const iv = new Uint8Array(16).fill(3);
    const entry = { name: 'a', keyId, method: 'sm4-ctr', methodNumber: 5, iv };
    const ciphertext = encrypted(new CtrStream(keys.dataKey(keyId, 5), iv), 100);
    equal(await collect(decryptBlob(new Blob([ciphertext]), { keys, entry })), plaintext(100));
    const clear = { name: 'b', keyId: 0n, method: 'plaintext', methodNumber: 1, iv: new Uint8Array() };
    equal(await collect(decryptBlob(new Blob([plaintext(9)]), { keys, entry: clear }, { start: 2 })), plaintext(9).slice(2));
    for (const wrong of [{ ...entry, keyId: 1n }, { ...entry, iv: new Uint8Array(12) }, { ...entry, methodNumber: 9 }]) {
      const error = await thrownBy(() => decryptBlob(new Blob([ciphertext]), { keys, entry: wrong }));
      equal(error.name, 'StillkeyError');
    }
  });

  test('what a stream gives out stays as it is, whatever becomes of what was written', async () => {
    const keys = new KeyDictionary();
    const entry = { name: 'a', keyId: 0n, method: 'plaintext', methodNumber: 1, iv: new Uint8Array() };
    const { readable, writable } = decryptStream({ keys, entry });
    const [reader, writer, chunk] = [readable.getReader(), writable.getWriter(), plaintext(100)];
    const written = writer.write(chunk);
    const { value } = await reader.read();
    await written;
    chunk.fill(0);
    equal(value, plaintext(100));
    const [key, object] = [MasterKey.random(), new Uint8Array(1)];
    const sealed = SealedObject.seal(plaintext(1000), key);
    const opening = openStream(key);
    const [opened, bytes] = [collect(opening.readable), opening.writable.getWriter()];
    // One buffer for all that is read, as from a file.
    for (const byte of sealed) await bytes.write((object.fill(byte), object));
    await bytes.close();
    equal(await opened, plaintext(1000));
  });

  test('keys may be freed once the call has returned', async () => {
    const key = MasterKey.random();
    const sealed = SealedObject.seal(plaintext(1000), key);
    const again = () => MasterKey.fromBytes(key.dangerExport());
    const keys = [again(), again()];
    const opened = SealedObject.from(new Blob([sealed]), keys[0]);
    const stream = streamOf([sealed]).pipeThrough(openStream(keys[1]));
    for (const key of keys) key.free();
    equal(await (await opened).read(), plaintext(1000));
    equal(await collect(stream), plaintext(1000));
  });

  test('a Blob of 3 GiB is read where it is asked for, and nowhere else', async () => {
    const mebibyte = new Blob([new Uint8Array(1 << 20)]);
    const gibibyte = new Blob(new Array(1024).fill(mebibyte));
    const blob = new Blob([gibibyte, gibibyte, gibibyte]);
    const stream = newStream();
    const start = 3 * 2 ** 30 - 100_003;
    const expected = new Uint8Array(100_003);
    stream.applyAt(start, expected);
    equal(await collect(decryptBlob(blob, stream, { start })), expected);
    const reader = decryptBlob(blob, stream).getReader();
    equal((await reader.read()).value.length, 1 << 20);
    await reader.cancel();
  });

  test(byteStreams ? 'a reader with a buffer of its own gets it filled' : 'where streams take no buffer of the reader, they have their own', async () => {
    const stream = newStream();
    const key = MasterKey.random();
    const object = await SealedObject.from(SealedObject.seal(plaintext(300_000), key), key);
    for (const source of [decryptBlob(new Blob([encrypted(stream, 300_000)]), stream, { start: 7 }), object.stream({ start: 7 })]) {
      if (!byteStreams) {
        ok((await thrownBy(() => source.getReader({ mode: 'byob' }))) instanceof TypeError, 'there are such streams now');
        equal(await collect(source), plaintext(300_000).slice(7));
        continue;
      }
      const reader = source.getReader({ mode: 'byob' });
      const [found, sizes] = [[], [1, 1000, 100_000, 65_536]];
      let buffer = new ArrayBuffer(100_000);
      for (let turn = 0; ; turn++) {
        const { done, value } = await reader.read(new Uint8Array(buffer, 0, sizes[turn % 4]));
        if (done) break;
        found.push(value.slice());
        ({ buffer } = value);
      }
      equal(new Uint8Array(await new Blob(found).arrayBuffer()), plaintext(300_000).slice(7));
    }
  });

  test('work that is done in the background at the same time does not mix', async () => {
    const streams = ['aes128-ctr', 'aes256-ctr', 'aes256-ctr'].map(newStream);
    const jobs = Array.from({ length: 24 }, (_, i) => [streams[i % 3], i * 100_003]);
    const found = await Promise.all(jobs.map(([stream, offset]) => stream.applyAtAsync(offset, plaintext(40_000))));
    for (const [i, [stream, offset]] of jobs.entries()) {
      const expected = plaintext(40_000);
      stream.applyAt(offset, expected);
      equal(found[i], expected, `job ${i}`);
    }
  });

  test('a range that cannot be is refused', async () => {
    for (const options of [{ start: 2, end: 1 }, { start: -1 }, { end: 1.5 }, { start: '1' }, 7]) {
      const error = await thrownBy(() => decryptBlob(new Blob(['abc']), newStream(), options));
      equal([error.name, error.code], ['StillkeyError', 'usage'], String(options));
    }
  });

  test('an abort ends every stream, and every wait, with its reason', async () => {
    const reason = new Error('enough');
    const key = MasterKey.random();
    const object = SealedObject.seal(plaintext(300_000), key);
    const opened = await SealedObject.from(new Blob([object]), key);
    const streams = (signal) => [
      decryptBlob(new Blob([new Uint8Array(3_000_000)]), newStream(), { signal }),
      endless().pipeThrough(encryptStream(newStream(), { signal })),
      endless().pipeThrough(sealStream(key, { signal })),
      new Blob([object]).stream().pipeThrough(openStream(key, { signal })),
      opened.stream({ signal }),
    ];
    for (const abortFirst of [true, false]) {
      const controllers = Array.from({ length: 5 }, () => new AbortController());
      const all = controllers.map(({ signal }, i) => {
        if (abortFirst) controllers[i].abort(reason);
        return streams(signal)[i];
      });
      for (const [i, stream] of all.entries()) {
        const reader = stream.getReader();
        if (!abortFirst) {
          await reader.read();
          controllers[i].abort(reason);
        }
        const error = await thrownBy(async () => {
          while (!(await reader.read()).done);
        });
        equal(error.message, 'enough', `stream ${i}`);
      }
    }
    const signal = AbortSignal.abort(reason);
    const waits = [
      () => newStream().applyAtAsync(0, new Uint8Array(1), { signal }),
      () => SealedObject.from(new Blob([object]), key, { signal }),
      () => opened.read(0, 5, { signal }),
    ];
    for (const wait of waits) equal((await thrownBy(wait)).message, 'enough');
  });

  test('objects round-trip in every suite, whole, in streams and by ranges', async () => {
    const keys = [MasterKey.random(), MasterKey.random()];
    const context = { tenant: '7', purpose: 'backup' };
    for (const suite of ['aes128-ctr', 'aes192-ctr', 'aes256-ctr', 'sm4-ctr', 'aes256-gcm', 'sm4-gcm']) {
      for (const length of [0, 1, 4096, 10_000]) {
        const what = `${suite}, ${length} bytes`;
        const options = { suite, chunkSize: 4096, context };
        const object = SealedObject.seal(plaintext(length), keys, options);
        const streamed = await collect(streamOf([plaintext(length)]).pipeThrough(sealStream(keys, options)));
        equal([object.length, SealedObject.header(object).suite], [streamed.length, suite], what);
        equal(SealedObject.header(object).recipients.map(({ reference }) => reference), keys.map(({ reference }) => reference));
        for (const sealed of [object, streamed]) {
          equal(SealedObject.open(sealed, keys[1], { context }), plaintext(length), what);
          const bytes = Array.from({ length: Math.ceil(sealed.length / 333) }, (_, i) => sealed.subarray(333 * i, 333 * i + 333));
          equal(await collect(streamOf(bytes).pipeThrough(openStream(keys[0], { context }))), plaintext(length), what);
        }
        for (const source of [object, new Blob([object])]) {
          const opened = await SealedObject.from(source, keys[0], { context });
          equal([opened.plaintextLength, await opened.read()], [length, plaintext(length)], what);
          for (const [start, end] of [[0, 0], [1, 4097], [4095, 9000], [4096, 8192], [9999, 20_000]]) {
            const [from, to] = [Math.min(start, length), Math.min(end, length)];
            equal(await opened.read(start, end), plaintext(length).slice(from, to), `${what}, ${start} to ${end}`);
            equal(await collect(opened.stream({ start, end })), plaintext(length).slice(from, to), what);
          }
          opened.free();
        }
      }
    }
  });

  test('an object that was cut off or changed is refused, whichever way it is opened', async () => {
    const key = MasterKey.random();
    const object = SealedObject.seal(plaintext(10_000), key, { chunkSize: 4096 });
    const changed = object.slice();
    changed[object.length - 5000] ^= 1;
    const cases = [object.slice(0, -1), object.slice(0, 50), object.slice(0, 300), changed, new Uint8Array([...object, 0])];
    for (const [i, bytes] of cases.entries()) {
      const ways = [
        () => SealedObject.open(bytes, key),
        async () => (await SealedObject.from(new Blob([bytes]), key)).read(),
        () => collect(new Blob([bytes]).stream().pipeThrough(openStream(key))),
      ];
      for (const way of ways) {
        const error = await thrownBy(way);
        equal([error.name, error.code], ['StillkeyError', 'damaged'], `case ${i}: ${error.message}`);
      }
    }
  });

  test('a stream ends with the error of what passes through it', async () => {
    const error = await thrownBy(() => collect(streamOf(['text']).pipeThrough(encryptStream(newStream()))));
    equal([error.name, error.code], ['StillkeyError', 'usage']);
    const late = encryptStream(newStream(), { offset: 2n ** 64n - 5n });
    equal((await thrownBy(() => collect(streamOf([new Uint8Array(9)]).pipeThrough(late)))).code, 'usage');
  });

  test('a small object from the vectors opens by ranges too', async () => {
    const row = cases.sealedObjects.find(({ opened }) => opened.ok?.length > 1000);
    const keys = row.masterKeys.map((digits) => MasterKey.fromHex(digits));
    const opened = await SealedObject.from(fromHex(row.object), keys, { context: row.context });
    equal(await opened.read(500, 700), plaintext(700).slice(500));
  });

  function endless() {
    return new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(100_000)) });
  }
}
