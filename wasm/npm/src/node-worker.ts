/** The worker's script in Node.js. */
import { parentPort } from 'node:worker_threads';

import { answer } from './jobs.js';

parentPort?.on('message', (request) => void answer(request, (message, transfer) => parentPort?.postMessage(message, transfer)));
