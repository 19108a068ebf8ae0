// What only Node.js shows.
import assert from 'node:assert';
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
