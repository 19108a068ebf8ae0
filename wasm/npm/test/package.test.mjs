// What npm would publish: its files, its types, and that it works where it is installed.
import assert from 'node:assert';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { install, pack, root, run, scratchFolder } from './packed.mjs';

const tool = (name) => join(root, 'node_modules/.bin', name);
const scratch = scratchFolder();
const packed = pack(scratch);
const { tarball } = packed;

test('the package holds what it needs and nothing else', () => {
  const files = packed.files.map(({ path }) => path);
  for (const needed of ['README.md', 'LICENSE-MIT', 'LICENSE-APACHE', 'package.json', 'dist/simd.wasm', 'dist/plain.wasm', 'dist/cjs/package.json']) {
    assert.ok(files.includes(needed), `${needed} is missing`);
  }
  const known = /^(README\.md|LICENSE-(MIT|APACHE)|package\.json|dist\/(simd|plain)\.wasm|dist\/cjs\/package\.json|dist\/(esm|cjs)\/[a-z-]+(\.d\.ts|\.js))$/;
  assert.deepEqual(files.filter((file) => !known.test(file)), []);
  assert.equal(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).dependencies, undefined);
});

test('no module is larger than 250 KiB', () => {
  for (const { path, size } of packed.files.filter(({ path }) => path.endsWith('.wasm'))) {
    assert.ok(size <= 250 * 1024, `${path}: ${size} bytes`);
  }
});

test('publint finds nothing to say', () => {
  run(tool('publint'), ['run', '--strict', tarball]);
});

test('the types fit every way to import it', () => {
  run(tool('attw'), [tarball, '--exclude-entrypoints', './simd.wasm', './plain.wasm']);
});

test('installed elsewhere, it works for import, for require and for TypeScript', () => {
  install(tarball, scratch);
  const use = "const key = MasterKey.random(); if (SealedObject.open(SealedObject.seal(new Uint8Array(5), key), key).length !== 5) throw new Error('no');";
  writeFileSync(join(scratch, 'use.mjs'), `import { MasterKey, SealedObject } from 'stillkey'; ${use}`);
  writeFileSync(join(scratch, 'use.cjs'), `const { MasterKey, SealedObject } = require('stillkey'); ${use}`);
  for (const file of ['use.mjs', 'use.cjs']) run(process.execPath, [file], scratch);
  const typed = `
    import { CtrStream, DataKey, decryptBlob, FileDictionary, KeyDictionary, MasterKey, type Verdict } from 'stillkey';
    const keys: KeyDictionary = KeyDictionary.open(new Uint8Array(), MasterKey.fromHex(''));
    const files = FileDictionary.parse(new ArrayBuffer(0), { reading: 'tikv' });
    const verdict: Verdict = files.verdict;
    if (verdict.state === 'torn-tail') verdict.dropped.toFixed();
    const stream: ReadableStream<Uint8Array> = decryptBlob(new Blob([]), { keys, entry: files.get('a') }, { start: 0n });
    const key: DataKey | null = keys.dataKey(1n, 'sm4-ctr');
    // @ts-expect-error: no such method
    DataKey.random('aes512-ctr');
    // @ts-expect-error: an initialization vector is bytes
    if (key) new CtrStream(key, 'iv').applyAt(0, new Uint8Array());
    stream.cancel(); keys.free();
  `;
  for (const [file, module] of [['use.mts', 'nodenext'], ['use.cts', 'nodenext'], ['bundled.ts', 'bundler']]) {
    writeFileSync(join(scratch, file), typed);
    const resolution = module === 'bundler' ? ['--module', 'esnext', '--moduleResolution', 'bundler'] : ['--module', module];
    run(tool('tsc'), ['--noEmit', '--strict', '--target', 'es2022', ...resolution, file], scratch);
  }
});
