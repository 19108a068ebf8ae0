// Work in the background, by WebCrypto and in the worker: the same bytes, the same errors, and a thread that stays free.
import { collect, equal, ok, plaintext, streamOf, thrownBy } from '../harness.mjs';

export function define(stillkey, { test }) {
  const { CtrStream, DataKey, MasterKey, SealedObject, StillkeyError } = stillkey;
  const { decryptBlob, decryptStream, encryptStream, openStream, readAll, sealStream } = stillkey;
  const suites = ['aes128-ctr', 'aes192-ctr', 'aes256-ctr', 'sm4-ctr', 'aes256-gcm', 'sm4-gcm'];
  const ways = [{}, { worker: true }];

  test('what is sealed and opened in the background is what the module makes and takes', async () => {
    const key = MasterKey.random();
    const context = { tenant: '7' };
    for (const suite of suites) {
      for (const options of ways) {
        for (const length of [0, 4096, 4097, 50_000]) {
          const what = `${suite}, ${length} bytes, ${JSON.stringify(options)}`;
          const sealing = { suite, chunkSize: 4096, context };
          const object = await SealedObject.sealAsync(plaintext(length), key, { ...sealing, ...options });
          equal(SealedObject.header(object).suite, suite);
          equal(SealedObject.open(object, key, { context }), plaintext(length), what);
          const sealed = SealedObject.seal(plaintext(length), key, sealing);
          equal(await SealedObject.openAsync(sealed, key, { context, ...options }), plaintext(length), what);
          const streamed = await collect(streamOf([plaintext(length)]).pipeThrough(sealStream(key, { ...sealing, ...options })));
          equal(SealedObject.open(streamed, key, { context }), plaintext(length), what);
          equal(await collect(streamOf([sealed]).pipeThrough(openStream(key, { context, ...options }))), plaintext(length), what);
          const opened = await SealedObject.from(new Blob([sealed]), key, { context, ...options });
          equal(await opened.read(), plaintext(length), what);
          equal(await collect(opened.stream({ start: Math.min(5, length) })), plaintext(length).slice(5), what);
          opened.free();
        }
      }
    }
  });

  test('a chunk that does not open is blamed alike, whoever tried', async () => {
    const key = MasterKey.random();
    for (const suite of ['aes256-gcm', 'sm4-gcm']) {
      const object = SealedObject.seal(plaintext(10_000), key, { suite, chunkSize: 4096 });
      const { length: start } = SealedObject.header(object);
      const sealedChunk = 4096 + 16;
      const changed = (at) => object.map((byte, i) => (i === at ? byte ^ 1 : byte));
      const chunk = (number) => object.slice(start + number * sealedChunk, start + (number + 1) * sealedChunk);
      const head = object.slice(0, start);
      const damaged = {
        'the first chunk': changed(start),
        'the second': changed(start + sealedChunk + 100),
        'the last tag': changed(object.length - 1),
        'two that were exchanged': Uint8Array.of(...head, ...chunk(1), ...chunk(0), ...chunk(2)),
        'one that was repeated': Uint8Array.of(...head, ...chunk(0), ...chunk(0), ...chunk(1), ...chunk(2)),
        'cut off after the second': object.slice(0, start + 2 * sealedChunk),
        'cut off within the third': object.slice(0, -1),
        'cut off within a tag': object.slice(0, start + 2 * sealedChunk + 7),
        'no body': head,
        extended: Uint8Array.of(...object, 0),
      };
      for (const [name, bytes] of Object.entries(damaged)) {
        const expected = await thrownBy(() => SealedObject.open(bytes, key));
        equal(expected.code, 'damaged', name);
        for (const options of ways) {
          const opening = {
            openAsync: () => SealedObject.openAsync(bytes, key, options),
            openStream: () => collect(new Blob([bytes]).stream().pipeThrough(openStream(key, options))),
          };
          for (const [way, open] of Object.entries(opening)) {
            const found = await thrownBy(open);
            const of = ({ name, code, finding, offset, message }) => ({ name, code, finding, offset, message });
            equal(of(found), of(expected), `${suite}, ${name}, ${way}, ${JSON.stringify(options)}`);
          }
          const read = await thrownBy(async () => (await SealedObject.from(new Blob([bytes]), key, options)).read());
          equal([read.name, read.code], ['StillkeyError', 'damaged'], name);
        }
      }
    }
  });

  test('counters pass every boundary in the background', async () => {
    // All counters end soon: the low 32 bits, the low 64, and all 128.
    const ivs = ['00'.repeat(12) + 'fffffffe', '00'.repeat(8) + 'ff'.repeat(8), 'ff'.repeat(16), `${'7f'.repeat(15)}ff`];
    const whole = plaintext(1_100_000);
    for (const method of ['aes128-ctr', 'aes192-ctr', 'aes256-ctr', 'sm4-ctr']) {
      // The module's counters are the same for all; WebCrypto's may not be.
      for (const digits of method === 'aes256-ctr' ? ivs : ivs.slice(2, 3)) {
        const iv = Uint8Array.from(digits.match(/../g), (byte) => Number.parseInt(byte, 16));
        const stream = new CtrStream(DataKey.random(method), iv);
        const ciphertext = whole.slice();
        stream.applyAt(0, ciphertext);
        for (const options of ways) {
          equal(await stream.applyAtAsync(0, whole.slice(), options), ciphertext, `${method} ${digits}`);
          const [start, end] = [1_048_571, 1_099_999];
          equal(await readAll(decryptBlob(new Blob([ciphertext]), stream, { start, end, ...options })), whole.slice(start, end));
          const chunks = [ciphertext.slice(0, 5), ciphertext.slice(5, 300_000), ciphertext.slice(300_000)];
          equal(await collect(streamOf(chunks).pipeThrough(decryptStream(stream, options))), whole.slice());
          equal(await collect(streamOf([whole.slice(0, 50_000)]).pipeThrough(encryptStream(stream, options))), ciphertext.slice(0, 50_000));
        }
      }
    }
  });

  test('while the worker works, the thread that asked is free', async () => {
    const stream = new CtrStream(DataKey.random('sm4-ctr'), new Uint8Array(16));
    await stream.applyAtAsync(0, new Uint8Array(40_000), { worker: true });
    /** How often the thread had a turn while `work` went on; and how often when it would have been kept. */
    const turnsDuring = async (work) => {
      let turns = 0;
      const channel = new MessageChannel();
      channel.port1.onmessage = () => {
        turns++;
        channel.port2.postMessage(0);
      };
      channel.port2.postMessage(0);
      await work();
      channel.port1.close();
      return turns;
    };
    const data = new Uint8Array(24 << 20);
    const worked = await turnsDuring(() => stream.applyAtAsync(0, data, { worker: true }));
    const kept = await turnsDuring(() => stream.applyAtAsync(0, data));
    ok(worked > 10 && kept < 3, `${worked} turns with a worker, ${kept} without`);
  });

  test('an abort does not wait for the worker', async () => {
    const stream = new CtrStream(DataKey.random('sm4-ctr'), new Uint8Array(16));
    const [controller, reason] = [new AbortController(), new Error('enough')];
    const { signal } = controller;
    const key = MasterKey.random();
    const data = new Uint8Array(4 << 20);
    const jobs = [
      stream.applyAtAsync(0, data, { worker: true, signal }),
      SealedObject.sealAsync(data, key, { suite: 'sm4-gcm', worker: true, signal }),
      SealedObject.sealAsync(data, key, { signal }),
      readAll(decryptBlob(new Blob([data]), stream, { worker: true, signal })),
    ];
    controller.abort(reason);
    for (const job of jobs) equal((await thrownBy(() => job)).message, 'enough');
    // And it goes on with what comes next.
    equal((await stream.applyAtAsync(0, new Uint8Array(50_000), { worker: true })).length, 50_000);
  });

  test('no more than 4 MiB are read ahead of the reader', async () => {
    let asked = 0;
    class Counting extends Blob {
      slice(from, to) {
        asked += to - from;
        return super.slice(from, to);
      }
    }
    const blob = new Counting(new Array(32).fill(new Uint8Array(1 << 20)));
    const reader = decryptBlob(blob, new CtrStream(DataKey.random('aes256-ctr'), new Uint8Array(16))).getReader();
    equal(asked, 0);
    equal((await reader.read()).value.length, 1 << 20);
    await new Promise((resolve) => setTimeout(resolve, 100));
    ok(asked <= 5 << 20, `${asked} bytes were read for 1 MiB`);
    await reader.cancel();
    equal((await collect(decryptBlob(blob, new CtrStream(DataKey.random('aes256-ctr'), new Uint8Array(16))))).length, 32 << 20);
  });

  test('a stream that was freed meanwhile says so', async () => {
    for (const options of ways) {
      const stream = new CtrStream(DataKey.random('aes256-ctr'), new Uint8Array(16));
      const reader = decryptBlob(new Blob([new Uint8Array(20 << 20)]), stream, options).getReader();
      await reader.read();
      stream.free();
      const error = await thrownBy(async () => {
        while (!(await reader.read()).done);
      });
      ok(error instanceof StillkeyError, `${error}`);
      equal(error.reason, 'freed');
    }
  });

  test('worker is true or false', async () => {
    const stream = new CtrStream(DataKey.random('sm4-ctr'), new Uint8Array(16));
    for (const worker of [1, 'true', null, {}]) {
      const error = await thrownBy(() => stream.applyAtAsync(0, new Uint8Array(9), { worker }));
      equal([error.name, error.code], ['StillkeyError', 'usage']);
      ok(/^worker: true or false/.test(error.message), error.message);
    }
  });
}
