// The package as npm would publish it, and a folder where it is installed.
import assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

export const root = resolve(fileURLToPath(import.meta.url), '../..');

/** A folder that goes when the tests of the file have ended. */
export function scratchFolder() {
  const path = mkdtempSync(join(tmpdir(), 'stillkey-package-'));
  after(() => rmSync(path, { recursive: true }));
  return path;
}

/** What a program prints; when it fails, that is in the error. */
export function run(program, args, cwd = root) {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8' });
  assert.equal(status, 0, `${program} ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

/** Packs into a folder; what npm says about it, and where it is. */
export function pack(folder) {
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', folder]));
  return { ...packed, tarball: join(folder, packed.filename) };
}

export function install(tarball, folder) {
  writeFileSync(join(folder, 'package.json'), '{ "private": true }');
  run('npm', ['install', '--no-audit', '--no-fund', '--offline', tarball], folder);
}
