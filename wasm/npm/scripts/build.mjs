// Builds dist/: two WebAssembly modules, with vector instructions and without, one glue for both, and the API for ESM and CommonJS.
//
// usage: node scripts/build.mjs
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const here = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const root = resolve(here, '../..');
const dist = join(here, 'dist');
const target = 'wasm32-unknown-unknown';
// What webpack calls too big, by default, is larger.
const limit = 244 * 1024;
const features = [
  'bulk-memory', 'multivalue', 'mutable-globals', 'nontrapping-float-to-int', 'reference-types', 'sign-ext',
];

const output = (program, args) => execFileSync(program, args, { cwd: root, encoding: 'utf8' }).trim();
const run = (program, args, env = {}) => {
  console.error(`+ ${program} ${args.join(' ')}`);
  execFileSync(program, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
};

const toolchain = output('tests/setup', ['--toolchain-for', target]);
const wasmBindgen = join(dirname(output('tests/setup', ['--wasm-runner'])), 'wasm-bindgen');
const metadata = JSON.parse(output('cargo', ['metadata', '--format-version=1', '--no-deps', '--locked']));

/** Builds one module and returns the glue that goes with it. */
function build(name, simd, scratch) {
  const cargoHome = process.env.CARGO_HOME ?? join(homedir(), '.cargo');
  const rustflags = [
    `-Ctarget-feature=${simd ? '+' : '-'}simd128`,
    // LLVM's own limit makes 3 % more, and nothing faster.
    '-Cllvm-args=-inline-threshold=10',
    // The module says where a panic would be, and shall not say where it was built.
    `--remap-path-prefix=${cargoHome}=cargo`,
    `--remap-path-prefix=${root}=stillkey`,
  ];
  const env = { CARGO_ENCODED_RUSTFLAGS: rustflags.join('\x1f') };
  // Debian's compiler has no linker of its own for this target.
  if (toolchain === 'stillkey-cross') env.CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER = 'wasm-ld-22';
  // A folder for each: cargo leaves such flags out of its names, so in one folder, each module's build would undo the other's.
  const folder = join(metadata.target_directory, 'npm', name);
  run('cargo', [`+${toolchain}`, 'build', '-p', 'stillkey-bindings', '--profile', 'npm', '--target', target, '--target-dir', folder, '--locked'], env);
  const module = join(folder, target, 'npm/stillkey_bindings.wasm');
  const out = join(scratch, name);
  run(wasmBindgen, ['--target', 'bundler', '--out-dir', out, '--out-name', 'bindings', module]);
  const optimised = join(dist, `${name}.wasm`);
  const enabled = [...features, ...(simd ? ['simd'] : [])].map((feature) => `--enable-${feature}`);
  run(join(here, 'node_modules/.bin/wasm-opt'), [
    // Nothing is placed below 1 KiB, where Rust has its stack.
    '-Oz', '--converge', '--low-memory-unused', ...enabled, '--strip-debug', '--strip-producers', join(out, 'bindings_bg.wasm'), '-o', optimised,
  ]);
  const { size } = statSync(optimised);
  console.error(`${name}.wasm: ${size} bytes, at most ${limit}`);
  if (size > limit) throw new Error(`${name}.wasm is too large: ${size} bytes, at most ${limit}`);
  return {
    script: readFileSync(join(out, 'bindings_bg.js'), 'utf8'),
    types: readFileSync(join(out, 'bindings.d.ts'), 'utf8'),
  };
}

/** One glue serves both modules only as long as they ask for the same functions under the same names. */
function buildModules() {
  const scratch = mkdtempSync(join(tmpdir(), 'stillkey-'));
  try {
    const glue = build('simd', true, scratch);
    const plain = build('plain', false, scratch);
    if (glue.script !== plain.script) throw new Error('the two modules need different glue');
    return glue;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

rmSync(dist, { recursive: true, force: true });
for (const folder of ['esm', 'cjs']) mkdirSync(join(dist, folder), { recursive: true });
const glue = buildModules();
writeFileSync(join(here, 'src/bindings.js'), glue.script);
writeFileSync(join(here, 'src/bindings.d.ts'), `${glue.types}\nexport function __wbg_set_wasm(exports: WebAssembly.Exports): void;\n`);
for (const project of ['tsconfig.esm.json', 'tsconfig.cjs.json']) {
  run(process.execPath, [join(here, 'node_modules/typescript/bin/tsc'), '-p', join(here, project)]);
}
copyFileSync(join(here, 'src/wasm-address.d.cts'), join(dist, 'wasm-address.d.cts'));
copyFileSync(join(here, 'src/bindings.js'), join(dist, 'esm/bindings.js'));
const commonJs = ts.transpileModule(glue.script, { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 } });
writeFileSync(join(dist, 'cjs/bindings.js'), commonJs.outputText);
writeFileSync(join(dist, 'cjs/package.json'), '{ "type": "commonjs" }\n');
