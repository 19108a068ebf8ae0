/** The worker's script in browsers. */
import { answer, type Request } from './jobs.js';

const scope = globalThis as unknown as {
  onmessage: (event: { data: Request }) => void;
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
};
scope.onmessage = ({ data }) => void answer(data, (message, transfer) => scope.postMessage(message, transfer));
