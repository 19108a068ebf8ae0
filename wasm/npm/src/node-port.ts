/** Workers of Node.js. */
import { Worker } from 'node:worker_threads';

import type { WorkerPort } from './workers.js';

/** @internal Starts one. */
export function nodePort(script: string | URL): WorkerPort {
  // Options of the command line may be such as no worker takes.
  const worker = new Worker(script, { execArgv: [] });
  worker.unref();
  return {
    post: (request, transfer) => worker.postMessage(request, transfer),
    listen(answered, failed) {
      worker.on('message', answered);
      worker.on('error', (error) => failed(error.message));
      worker.on('exit', () => failed('it ended'));
      // Listening makes a program wait for it.
      worker.unref();
    },
    busy: (isBusy) => (isBusy ? worker.ref() : worker.unref()),
  };
}
