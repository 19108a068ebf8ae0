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
  for (const needed of ['README.md', 'CHANGELOG.md', 'LICENSE-MIT', 'LICENSE-APACHE', 'package.json', 'dist/simd.wasm', 'dist/plain.wasm', 'dist/cjs/package.json']) {
    assert.ok(files.includes(needed), `${needed} is missing`);
  }
  const known = /^((README|CHANGELOG)\.md|LICENSE-(MIT|APACHE)|package\.json|dist\/(simd|plain)\.wasm|dist\/cjs\/package\.json|dist\/wasm-address\.d\.cts|dist\/(esm|cjs)\/[a-z-]+(\.d\.ts|\.js))$/;
  assert.deepEqual(files.filter((file) => !known.test(file)), []);
  assert.equal(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).dependencies, undefined);
});

test('no module is larger than 244 KiB, of which webpack would warn', () => {
  for (const { path, size } of packed.files.filter(({ path }) => path.endsWith('.wasm'))) {
    assert.ok(size <= 244 * 1024, `${path}: ${size} bytes`);
  }
});

test('publint finds nothing to say', () => {
  run(tool('publint'), ['run', '--strict', tarball]);
});

test('the types fit every way to import it', () => {
  run(tool('attw'), [tarball]);
});

test('installed elsewhere, it works for import and for require', () => {
  install(tarball, scratch);
  const use = "const key = MasterKey.random(); if (SealedObject.open(SealedObject.seal(new Uint8Array(5), key), key).length !== 5) throw new Error('no');";
  writeFileSync(join(scratch, 'use.mjs'), `import { MasterKey, SealedObject } from 'stillkey'; ${use}`);
  writeFileSync(join(scratch, 'use.cjs'), `const { MasterKey, SealedObject } = require('stillkey'); ${use}`);
  for (const file of ['use.mjs', 'use.cjs']) run(process.execPath, [file], scratch);
});

test('the examples of README.md that are marked `ts` compile, one after the other', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const examples = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);
  assert.ok(examples.length >= 2, `only ${examples.length}`);
  writeFileSync(join(scratch, 'readme.mts'), examples.join(''));
  const script = join(root, 'node_modules/typescript/bin/tsc');
  run(process.execPath, [script, '--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', 'readme.mts'], scratch);
});

/** What a program of any kind can write. */
const bare = `
  import { CtrStream, DataKey, FileDictionary, KeyDictionary, MasterKey, SealedObject, type Bytes, type Verdict } from 'stillkey';
  const keys: KeyDictionary = KeyDictionary.open(new Uint8Array(), MasterKey.fromHex(''));
  const files = FileDictionary.parse(new ArrayBuffer(0), { reading: 'tikv' });
  const verdict: Verdict = files.verdict;
  if (verdict.state === 'torn-tail') verdict.dropped.toFixed();
  const key: DataKey | null = keys.dataKey(1n, 'sm4-ctr');
  const given: Bytes = new SharedArrayBuffer(1);
  const sealed: Uint8Array = SealedObject.seal(given, MasterKey.random(), { context: new Map([['a', 'b']]) });
  const entry = files.find('a');
  if (entry && key) new CtrStream(key, entry.iv).applyAt(0, sealed);
  // @ts-expect-error: no such method
  DataKey.random('aes512-ctr');
  // @ts-expect-error: an initialization vector is bytes
  if (key) new CtrStream(key, 'iv').applyAt(0, new Uint8Array());
  // @ts-expect-error: no such option
  SealedObject.seal(given, MasterKey.random(), { contxt: {} });
`;

/** What one can write where hosts have streams. */
const withStreams = `
  ${bare}
  import { decryptBlob, init, readAll, sealStream } from 'stillkey';
  import plain from 'stillkey/plain.wasm';
  import simd from 'stillkey/simd.wasm';
  init({ simd: new URL(simd, 'http://localhost'), plain: new URL(plain, 'http://localhost') });
  const stream: ReadableStream<Uint8Array> = decryptBlob(new Blob([]), { keys, entry: files.get('a') }, { start: 0n });
  readAll(stream.pipeThrough(sealStream([MasterKey.random()]))).then((bytes) => new Blob([bytes]).stream().cancel());
  fetch('http://localhost', { method: 'POST', body: sealed as Uint8Array<ArrayBuffer>, signal: new AbortController().signal });
  { using secret = MasterKey.random(); secret.isFreed; }
`;

const environments = {
  'with the DOM library': { libraries: 'es2022,dom,dom.iterable', program: withStreams },
  'without the DOM library': { libraries: 'es2022', program: bare },
};

for (const compiler of ['oldest', 'newest']) {
  const script = join(root, `node_modules/typescript-${compiler}/bin/tsc`);
  const { version } = JSON.parse(readFileSync(join(root, `node_modules/typescript-${compiler}/package.json`), 'utf8'));
  for (const [environment, { libraries, program }] of Object.entries(environments)) {
    test(`TypeScript ${version} compiles against it ${environment}`, () => {
      // Neither generic arrays nor `using` were there from the start.
      const typed = compiler === 'newest' ? program : program.replace('as Uint8Array<ArrayBuffer>', '').replace('using', 'const');
      for (const [file, module, resolution] of [['use.mts', 'nodenext', 'nodenext'], ['use.cts', 'nodenext', 'nodenext'], ['use.ts', 'esnext', 'bundler']]) {
        writeFileSync(join(scratch, file), typed);
        const options = ['--noEmit', '--strict', '--target', 'es2022', '--lib', libraries, '--module', module, '--moduleResolution', resolution];
        run(process.execPath, [script, ...options, file], scratch);
      }
    });
  }
}
