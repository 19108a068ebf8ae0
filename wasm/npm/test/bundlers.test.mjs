// The installed package in a small program, by way of each bundler, in a browser under a strict policy.
import assert from 'node:assert';
import { createCipheriv } from 'node:crypto';
import { cpSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

import * as esbuild from 'esbuild';
import { build as vite } from 'vite';
import webpack from 'webpack';

import { withPage } from '../scripts/browsers.mjs';
import { install, pack, root, scratchFolder } from './packed.mjs';

const scratch = scratchFolder();
install(pack(scratch).tarball, scratch);
cpSync(join(root, 'test/bundlers'), scratch, { recursive: true });
writeFileSync(join(scratch, 'index.html'), page('./main.mjs'));

/** Each leaves a page `index.html` in the folder `out`. */
const bundlers = {
  async vite(out) {
    await vite({ root: scratch, configFile: false, logLevel: 'error', base: './', build: { outDir: out } });
  },
  async webpack(out) {
    const compiler = webpack({
      mode: 'production',
      context: scratch,
      entry: './main.mjs',
      experiments: { outputModule: true },
      output: { path: out, filename: 'main.js', module: true },
    });
    const stats = await promisify(compiler.run.bind(compiler))();
    await promisify(compiler.close.bind(compiler))();
    assert.ok(!stats.hasErrors() && !stats.hasWarnings(), stats.toString());
    writeFileSync(join(out, 'index.html'), page('main.js'));
  },
  async esbuild(out) {
    await esbuild.build({
      absWorkingDir: scratch, entryPoints: { main: 'addresses.mjs', worker: 'node_modules/stillkey/dist/esm/browser-worker.js' }, outdir: out, bundle: true, minify: true, format: 'esm', logLevel: 'error',
      loader: { '.wasm': 'file' },
    });
    writeFileSync(join(out, 'index.html'), page('main.js'));
  },
};

function page(script) {
  return `<!doctype html><meta charset="utf-8"><title>Bundled</title><script type="module" src="${script}"></script>`;
}

for (const [name, bundle] of Object.entries(bundlers)) {
  test(`bundled by ${name}, it encrypts and decrypts in Chromium`, { timeout: 120_000 }, async () => {
    const out = join(scratch, 'out', name);
    await bundle(out);
    const modules = readdirSync(out, { recursive: true }).filter((file) => file.endsWith('.wasm'));
    assert.equal(modules.length, 2, `modules in the bundle: ${modules}`);
    const result = await withPage('index.html', (page) => page.evaluate(() => globalThis.result), { root: out });
    assert.deepEqual(result, { same: true, encrypted: expected(), decrypted: 'what was bundled', kernel: 'simd128' });
  });
}

test('a program that imports it and does not use it stays as small as it was', async () => {
  const imports = "import { init, MasterKey, SealedObject } from 'stillkey';";
  for (const [name, sizeOf] of Object.entries(sizes)) {
    const [without, unused] = [await sizeOf('globalThis.result = 1;'), await sizeOf(`${imports} globalThis.result = 1;`)];
    assert.ok(without > 10 && unused - without < 1024, `${name}: ${unused} bytes, ${without} without it`);
  }
});

/** How large a program is once each has bundled it, with what it emits beside it. */
const sizes = {
  async vite(code) {
    writeFileSync(join(scratch, 'unused.mjs'), code);
    const lib = { entry: 'unused.mjs', formats: ['es'] };
    const [{ output }] = await vite({ root: scratch, configFile: false, logLevel: 'error', build: { lib, write: false } });
    return output.reduce((sum, { code, source }) => sum + (code ?? source).length, 0);
  },
  async webpack(code) {
    writeFileSync(join(scratch, 'unused.mjs'), code);
    const output = { path: join(scratch, 'out/unused'), module: true, clean: true };
    const compiler = webpack({ mode: 'production', context: scratch, entry: './unused.mjs', experiments: { outputModule: true }, output });
    const stats = await promisify(compiler.run.bind(compiler))();
    await promisify(compiler.close.bind(compiler))();
    return stats.toJson().assets.reduce((sum, { size }) => sum + size, 0);
  },
  async esbuild(code) {
    const stdin = { contents: code, resolveDir: scratch };
    const { outputFiles } = await esbuild.build({ stdin, bundle: true, minify: true, format: 'esm', write: false });
    return outputFiles.reduce((sum, { contents }) => sum + contents.length, 0);
  },
};

/** What Node's OpenSSL makes of the same, from byte 5 of the stream on. */
function expected() {
  const cipher = createCipheriv('sm4-ctr', Buffer.alloc(16, 7), Buffer.alloc(16, 9));
  cipher.update(Buffer.alloc(5));
  return cipher.update('what was bundled', 'utf8', 'hex');
}
