/** The WebAssembly module: which of the two is chosen, and when it is loaded. */
import { type Bytes, copyOf, optionsOf } from './arguments.js';
import * as bindings from './bindings.js';
import { asStillkeyError, guarded, type StillkeyError, usage } from './errors.js';
import { describe } from './handle.js';
import type { WorkerPort } from './workers.js';

/** Where a module comes from: an address to fetch, its bytes, or a compiled module. */
export type ModuleSource = string | URL | Bytes | WebAssembly.Module;

/** Options of {@link init}. */
export interface InitOptions {
  /** The module with vector instructions, where it doesn't lie beside this package's script. */
  simd?: ModuleSource;
  /** The module without them. */
  plain?: ModuleSource;
  /** The script of the worker that `worker: true` starts, where it doesn't lie beside this package's script. */
  workerScript?: string | URL;
  /** `false` uses the module without vector instructions even where they exist: for tests and comparisons. */
  preferSimd?: boolean;
}

/** How a platform gets at its modules and workers; where those can be read at once, set by the entry point. */
export interface Platform {
  /** The module of this name, to be fetched or compiled. */
  source(name: ModuleName): ModuleSource | Promise<ModuleSource>;
  /** As `source`, at once, where that is possible. */
  sourceNow?(name: ModuleName): Bytes;
  /** Starts a worker, by the script at this address or by the platform's own. */
  worker?(at: string | URL | undefined): WorkerPort;
}

type ModuleName = 'simd' | 'plain';

/** A function that returns a vector of 16 bytes: what the host must be able to run for the module with vector instructions. */
const needsSimd = new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, // the magic and the version
  1, 5, 1, 0x60, 0, 1, 0x7b, // a type: () -> v128
  3, 2, 1, 0, // a function of it
  10, 10, 1, 8, 0, 0x41, 0, 0xfd, 0x0f, 0xfd, 0x62, 0x0b, // i32.const 0, i8x16.splat, i8x16.popcnt
]);

let platform: Platform | undefined;
let memory: WebAssembly.Memory | undefined;
/** What runs, for a worker to run it too. */
let compiled: WebAssembly.Module | undefined;
let newWorker: Platform['worker'] | undefined;
let workerScript: string | URL | undefined;
let loading: Promise<void> | undefined;

/** @internal Says how this platform gets at its modules. */
export function setPlatform(chosen: Platform): void {
  platform = chosen;
}

/**
 * Loads the WebAssembly module. Call it once, before anything else, and await it; further calls wait for the same module.
 *
 * In Node.js it may be left out: there, the first call of anything loads the module.
 *
 * @throws {@link StillkeyError} `unsupported` when the module can't be loaded or compiled.
 */
export function init(options?: InitOptions): Promise<void> {
  return initFrom(platform ?? {}, options);
}

/** @internal As {@link init}, with the modules that a platform has. */
export async function initFrom({ source, worker }: Partial<Platform>, options?: InitOptions): Promise<void> {
  const given = guarded(() => optionsOf(options, ['simd', 'plain', 'preferSimd', 'workerScript']));
  newWorker ??= worker;
  workerScript ??= guarded(() => addressOf(given.workerScript));
  if (memory) return;
  loading ??= load(source, given).catch((error: unknown) => {
    // The next call may try again, perhaps from elsewhere.
    loading = undefined;
    throw notLoaded(error);
  });
  return loading;
}

async function load(own: Platform['source'] | undefined, options: InitOptions): Promise<void> {
  const name = choose(options.preferSimd);
  // Bytes are taken before anything is awaited.
  const module = await compile(options[name] ?? (await own?.(name)));
  if (!memory) start(module, await WebAssembly.instantiate(module, imports()));
}

function addressOf(script: unknown): string | URL | undefined {
  if (script === undefined || typeof script === 'string' || script instanceof URL) return script;
  throw usage(`workerScript: the address of a script is needed, not ${describe(script)}`);
}

function choose(preferSimd = true): ModuleName {
  return preferSimd && WebAssembly.validate(needsSimd) ? 'simd' : 'plain';
}

async function compile(source: ModuleSource | undefined): Promise<WebAssembly.Module> {
  if (source === undefined) throw usage('there is no module to load');
  if (source instanceof WebAssembly.Module) return source;
  if (typeof source !== 'string' && !(source instanceof URL)) return WebAssembly.compile(copyOf(source, 'module'));
  const response = await fetch(source);
  if (!response.ok) throw new Error(`${String(source)}: ${response.status} ${response.statusText}`);
  // Compiling while it arrives needs the right content type, which not every server sends.
  if (response.headers.get('content-type')?.split(';')[0] === 'application/wasm') {
    return WebAssembly.compileStreaming(response);
  }
  return WebAssembly.compile(await response.arrayBuffer());
}

function imports(): WebAssembly.Imports {
  return { './bindings_bg.js': bindings as unknown as WebAssembly.ModuleImports };
}

function start(module: WebAssembly.Module, instance: WebAssembly.Instance): void {
  compiled = module;
  bindings.__wbg_set_wasm(instance.exports);
  (instance.exports['__wbindgen_start'] as () => void)();
  memory = instance.exports['memory'] as WebAssembly.Memory;
}

function notLoaded(error: unknown): StillkeyError {
  const known = asStillkeyError(error);
  if (known.code !== 'usage' || known.reason !== 'misuse') return known;
  const why = error instanceof Error ? error.message : String(error);
  return usage(`the WebAssembly module could not be loaded: ${why}; say where it is: init({ simd, plain })`, 'not-ready', error);
}

/** @internal The functions of the module. */
export function wasm(): typeof bindings {
  ready();
  return bindings;
}

/** @internal The module's memory, whose buffer changes when it grows. */
export function wasmMemory(): WebAssembly.Memory {
  return ready();
}

/** @internal The module itself. */
export function wasmModule(): WebAssembly.Module {
  ready();
  return compiled as WebAssembly.Module;
}

/** @internal A new worker. */
export function workerPort(): WorkerPort {
  const make = newWorker ?? platform?.worker;
  if (!make) throw usage('no worker can be started here; leave out worker: true', 'unavailable');
  return make(workerScript);
}

function ready(): WebAssembly.Memory {
  if (memory) return memory;
  if (!platform?.sourceNow) throw usage('the WebAssembly module is not loaded yet: await init() first', 'not-ready');
  try {
    const module = new WebAssembly.Module(copyOf(platform.sourceNow(choose()), 'module'));
    start(module, new WebAssembly.Instance(module, imports()));
  } catch (error) {
    throw notLoaded(error);
  }
  return memory as unknown as WebAssembly.Memory;
}

/** Which kernels run: `simd128`, on vectors of 128 bits, or `portable`. */
export function kernelName(): string {
  return wasm().kernel_name();
}
