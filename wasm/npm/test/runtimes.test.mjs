// The example that goes from disk to disk, and the worker, in Node.js, Bun and Deno: each reads what the others wrote.
import assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { root, scratchFolder } from './packed.mjs';

const setup = (name) => process.env[name.toUpperCase()] || spawnSync(join(root, '../../tests/setup'), [`--${name}`], { encoding: 'utf8' }).stdout.trim();
const runtimes = {
  'Node.js': [process.execPath],
  Bun: [setup('bun'), 'run'],
  Deno: [setup('deno'), 'run', '--no-prompt', '--allow-read', '--allow-write'],
};

const scratch = scratchFolder();
/** Inside the package, for it imports the package by its name. */
const program = join(root, 'test/readme-worker.mjs');
after(() => rmSync(program, { force: true }));
const at = (name) => join(scratch, name);
const plain = randomBytes((5 << 20) + 77);
writeFileSync(at('plain'), plain);
writeFileSync(at('key'), randomBytes(32).toString('hex'));
writeFileSync(at('other-key'), randomBytes(32).toString('hex'));

function started(runtime, script, args = []) {
  const [command, ...options] = runtimes[runtime];
  assert.ok(command && existsSync(command), `no ${runtime}: run tests/setup npm`);
  return spawnSync(command, [...options, script, ...args], { cwd: root, encoding: 'utf8', timeout: 120_000 });
}

const example = (runtime, ...args) => started(runtime, 'examples/seal-file.mjs', args);

function succeeds({ status, stdout, stderr }) {
  assert.equal(status, 0, stderr);
  return stdout;
}

for (const runtime of Object.keys(runtimes)) {
  test(`${runtime} seals a file, from disk to disk`, () => {
    succeeds(example(runtime, 'seal', at('key'), at('plain'), at(`${runtime}.sealed`)));
    assert.ok(!existsSync(at(`${runtime}.sealed.partial`)));
  });
}

for (const runtime of Object.keys(runtimes)) {
  test(`${runtime} opens what each has sealed, and refuses what was changed`, () => {
    for (const maker of Object.keys(runtimes)) {
      const to = at(`${maker}-${runtime}.opened`);
      succeeds(example(runtime, 'open', at('key'), at(`${maker}.sealed`), to));
      assert.ok(readFileSync(to).equals(plain), `${runtime} opened another file than ${maker} sealed`);
    }
    const changed = readFileSync(at('Node.js.sealed'));
    changed[changed.length - 5] ^= 1;
    writeFileSync(at('changed'), changed);
    const cases = [['key', 'changed', /chunk 80 at byte/], ['other-key', 'Bun.sealed', /none of the keys/], ['key', 'no such file', /no such file/i]];
    for (const [key, from, message] of cases) {
      const { status, stderr } = example(runtime, 'open', at(key), at(from), at('never'));
      assert.deepEqual([status, existsSync(at('never')), existsSync(at('never.partial'))], [1, false, false], stderr);
      assert.match(stderr, message);
    }
  });

  test(`${runtime} has SM4 done by a worker, and ends`, () => {
    writeFileSync(program, `
      import { CtrStream, DataKey } from 'stillkey';
      const stream = new CtrStream(DataKey.random('sm4-ctr'), new Uint8Array(16));
      const [there, back] = [await stream.applyAtAsync(0, new Uint8Array(3_000_000).fill(7), { worker: true }), new Uint8Array(3_000_000)];
      back.set(there);
      stream.applyAt(0, back);
      console.log(there.length === 3_000_000 && there[5] !== 7 && back.every((byte) => byte === 7));
    `);
    assert.equal(succeeds(started(runtime, program)).trim(), 'true');
  });
}
