/** What a worker is asked for, and how it is done there. */
import type * as raw from './bindings.js';
import { asStillkeyError, type ErrorCode, type ErrorReason, usage } from './errors.js';
import { initFrom, wasm } from './module.js';
import { applyAt, clearScratch } from './scratch.js';
import type { NewBytes } from './types.js';

/** A job stands for itself: the worker keeps nothing between two. `key` and `bytes` are given away. */
export type Job = { key: NewBytes; bytes: NewBytes } & (
  | { kind: 'ctr'; method: string; iv: NewBytes; offset: bigint }
  | { kind: 'seal' | 'open'; suite: string; nonce: NewBytes }
);

/** A job and its number, or the module that all jobs need. */
export type Request = { id: number; job: Job } | { module: WebAssembly.Module };

/** The result of the job with this number; `null` for a chunk that doesn't open. */
export type Answer = { id: number } & ({ bytes: NewBytes | null } | { code: ErrorCode; reason: ErrorReason; message: string });

let started: Promise<void> | undefined;

/** @internal In the worker: does what is asked, and hands the answer over with what goes with it. */
export async function answer(request: Request, hand: (answer: Answer, transfer: ArrayBuffer[]) => void): Promise<void> {
  if ('module' in request) {
    const { module } = request;
    started = initFrom({ source: () => module });
    // Whoever has a job for it is told.
    return started.catch(() => {});
  }
  const { id, job } = request;
  try {
    if (!started) throw usage('a worker without a module', 'not-ready');
    await started;
    const bytes = done(job);
    hand({ id, bytes }, bytes ? [bytes.buffer as ArrayBuffer] : []);
  } catch (error) {
    const { code, reason, message } = asStillkeyError(error);
    hand({ id, code, reason, message }, []);
  }
}

function done(job: Job): NewBytes | null {
  try {
    return job.kind === 'ctr' ? applied(job) : chunk(job);
  } finally {
    job.key.fill(0);
  }
}

function applied({ method, key, iv, offset, bytes }: Job & { kind: 'ctr' }): NewBytes {
  const dataKey = wasm().DataKey.from_bytes(method, key);
  let stream: raw.CtrStream | undefined;
  try {
    stream = new (wasm().CtrStream)(dataKey, iv);
    applyAt(stream, offset, bytes);
    return bytes;
  } finally {
    dataKey.free();
    stream?.free();
    clearScratch();
  }
}

function chunk({ kind, suite, key, nonce, bytes }: Job & { kind: 'seal' | 'open' }): NewBytes | null {
  const cipher = new (wasm().ChunkCipher)(suite, key);
  try {
    return kind === 'seal' ? (cipher.seal(nonce, bytes) as NewBytes) : ((cipher.open(nonce, bytes) as NewBytes | undefined) ?? null);
  } finally {
    cipher.free();
  }
}
