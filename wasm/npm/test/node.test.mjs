// What only Node.js shows.
import assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';

import { CtrStream, DataKey, decryptBlob, encryptStream, MasterKey, sealStream } from 'stillkey';

test('many streams share one signal without a warning', async () => {
  const warnings = [];
  const listen = (warning) => warnings.push(String(warning));
  process.on('warning', listen);
  const stream = new CtrStream(DataKey.random('sm4-ctr'), new Uint8Array(16));
  const controller = new AbortController();
  const { signal } = controller;
  const readers = Array.from({ length: 50 }, () => decryptBlob(new Blob(['abc']), stream, { signal }).getReader());
  const others = Array.from({ length: 50 }, (_, i) => i % 2 ? encryptStream(stream, { signal }) : sealStream(MasterKey.random(), { signal }));
  await new Promise((resolve) => setTimeout(resolve, 10));
  process.off('warning', listen);
  assert.deepEqual(warnings, []);
  controller.abort(new Error('enough'));
  for (const reader of [...readers, ...others.map(({ readable }) => readable.getReader())]) {
    await assert.rejects(reader.read(), /enough/);
  }
});

test('a module that is not where it should be says what to do', async () => {
  // In a thread of its own, where nothing is loaded yet.
  const browser = new URL('../dist/esm/browser.js', import.meta.url);
  const code = `
    import { createServer } from 'node:http';
    import { parentPort } from 'node:worker_threads';
    import { init } from ${JSON.stringify(browser.href)};
    const server = createServer((_, response) => response.writeHead(404).end()).listen(0, '127.0.0.1', async () => {
      const at = 'http://127.0.0.1:' + server.address().port + '/simd.wasm';
      await init({ simd: at }).catch(({ name, reason, message }) => parentPort.postMessage({ name, reason, message }));
      await init({ simd: new Uint8Array(9) }).catch(({ name, reason, message }) => parentPort.postMessage({ name, reason, message }));
      server.close();
    });
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  const [missing] = await once(worker, 'message');
  const [noModule] = await once(worker, 'message');
  assert.deepEqual([missing.name, missing.reason], ['StillkeyError', 'not-ready']);
  assert.match(missing.message, /simd\.wasm: 404 .*init\(\{ simd, plain \}\)/);
  assert.doesNotMatch(missing.message, /check the arguments/);
  assert.deepEqual([noModule.name, noModule.reason], ['StillkeyError', 'not-ready']);
  assert.doesNotMatch(noModule.message, /check the arguments/);
  await worker.terminate();
});

/** Runs a program of its own, with the package's own scripts; what it prints. */
function program(code, type = 'module') {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, [`--input-type=${type}`, '--eval', code], { encoding: 'utf8', timeout: 60_000, cwd: import.meta.dirname });
  assert.equal(status, 0, stderr);
  assert.ok(performance.now() - started < 30_000, 'it waited for something');
  return stdout.trim();
}

const work = `
  const stream = new CtrStream(DataKey.fromBytes('sm4-ctr', new Uint8Array(16)), new Uint8Array(16));
  const now = new Uint8Array(100_000);
  stream.applyAt(0, now);
  stream.applyAtAsync(0, new Uint8Array(100_000), { worker: true }).then(
    (later) => console.log(later.every((byte, i) => byte === now[i])),
    ({ name, reason, message }) => console.log(name, reason, message),
  );
`;

test('a program waits for the worker while it works, and ends without it', () => {
  assert.equal(program(`import { CtrStream, DataKey } from 'stillkey'; ${work}`), 'true');
  assert.equal(program(`const { CtrStream, DataKey } = require('stillkey'); ${work}`, 'commonjs'), 'true');
});

test('a worker that does not start says what to do, and another one may', () => {
  const start = "import { CtrStream, DataKey, init } from 'stillkey'; await init({ workerScript: new URL('file:///no/such/worker.js') });";
  assert.match(program(`${start} ${work}`), /^StillkeyError unavailable the worker failed: .*no.such.worker\.js.*init\(\{ workerScript \}\)/s);
  assert.match(program(`import { init } from 'stillkey'; await init({ workerScript: 5 }).catch(({ name, message }) => console.log(name, message));`), /^StillkeyError workerScript: /);
});

test('without WebCrypto, as in pages that are not served securely, all goes on', () => {
  const without = `
    Object.defineProperty(globalThis, 'crypto', { value: { getRandomValues: crypto.getRandomValues.bind(crypto) } });
    const { MasterKey, SealedObject } = await import('stillkey');
    const key = MasterKey.random();
    for (const options of [{}, { worker: true }]) {
      for (const suite of ['aes256-gcm', 'aes256-ctr']) {
        const object = await SealedObject.sealAsync(new Uint8Array(100_000).fill(7), key, { suite, ...options });
        const opened = await SealedObject.openAsync(object, key, options);
        console.log(opened.length === 100_000 && opened.every((byte) => byte === 7));
      }
    }
  `;
  assert.equal(program(without), 'true\ntrue\ntrue\ntrue');
});
