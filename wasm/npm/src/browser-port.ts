/** Workers of browsers. */
import { usage } from './errors.js';
import type { WorkerPort } from './workers.js';

/** @internal `start` makes a worker, by an address that bundlers recognise. */
export function browserPort(start: () => Worker): WorkerPort {
  let worker: Worker;
  try {
    worker = start();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw usage(`no worker can be started here: ${why}; leave out worker: true, or say where it is: init({ workerScript })`, 'unavailable', error);
  }
  return {
    post: (request, transfer) => worker.postMessage(request, transfer),
    listen(answered, failed) {
      worker.onmessage = ({ data }) => answered(data);
      worker.onerror = (event) => failed(event.message || 'its script could not be loaded');
      worker.onmessageerror = () => failed('a message could not be read');
    },
  };
}
