/** The worker: one for the whole program, started by the first job. */
import { usage } from './errors.js';
import type { Answer, Job, Request } from './jobs.js';
import { wasmModule, workerPort } from './module.js';
import type { NewBytes } from './types.js';

/** A worker, as each host has them. */
export interface WorkerPort {
  post(request: Request, transfer: ArrayBuffer[]): void;
  /** Called once. `failed`: the worker is of no use any more. */
  listen(answered: (answer: Answer) => void, failed: (why: string) => void): void;
  /** Whether somebody waits for it: a program may end without one that has nothing to do. */
  busy?(isBusy: boolean): void;
}

interface Waiting {
  resolve(bytes: NewBytes | null): void;
  reject(error: unknown): void;
}

let port: WorkerPort | undefined;
let waiting = new Map<number, Waiting>();
let jobs = 0;

/** @internal Has a job done. Its key and bytes are given away. */
export function inWorker(job: Job, signal: AbortSignal | undefined): Promise<NewBytes | null> {
  const started = (port ??= start());
  const id = jobs++;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal?.reason);
    const settled = () => signal?.removeEventListener('abort', abort);
    if (signal?.aborted) return abort();
    signal?.addEventListener('abort', abort, { once: true });
    waiting.set(id, {
      resolve(bytes) {
        settled();
        resolve(bytes);
      },
      reject(error) {
        settled();
        reject(error);
      },
    });
    if (waiting.size === 1) started.busy?.(true);
    started.post({ id, job }, [job.key.buffer as ArrayBuffer, job.bytes.buffer as ArrayBuffer]);
  });
}

function start(): WorkerPort {
  const started = workerPort();
  const own = (waiting = new Map());
  started.listen(
    (answer) => {
      const { id } = answer;
      const job = own.get(id);
      own.delete(id);
      if (own.size === 0) started.busy?.(false);
      if ('bytes' in answer) job?.resolve(answer.bytes);
      else job?.reject(usage(`the worker failed: ${answer.message}`, answer.reason));
    },
    (why) => {
      // The next job gets another one.
      if (port === started) port = undefined;
      for (const job of own.values()) job.reject(usage(`the worker failed: ${why}; say where it is: init({ workerScript })`, 'unavailable'));
      own.clear();
    },
  );
  started.post({ module: wasmModule() }, []);
  return started;
}
