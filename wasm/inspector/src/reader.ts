/**
 * Reads a `file.dict` in a thread of its own: one of the largest takes seconds, and the page answers meanwhile. The thread ends with the
 * reading, and with it goes its memory, which no module gives back.
 */
import { FileDictionary } from 'stillkey';
import { modules } from './engine.js';
import type { Explanation } from './model/explain.js';
import type { Kinds } from './model/kinds.js';
import type { Outcome, Request, Salvaged, TikvVerdict } from './reader.worker.js';
// Within the script, as a Blob: such a worker is under the page's policy, and one from the server would be under none.
import ReaderWorker from './reader.worker.js?worker&inline';

/** What was read, or why it can't be. */
export type Reading = ReadDictionary | { readonly problem: Explanation };

/** A dictionary, how its log ends, and what else was found in it. */
export interface ReadDictionary {
  readonly dictionary: FileDictionary;
  readonly kinds: Kinds;
  readonly tikv: TikvVerdict;
  readonly isZero: boolean;
  readonly salvaged: Salvaged<FileDictionary> | null;
}

/** Reads `file`; `null` when `signal` ended it. */
export async function readFileDict(file: Blob, signal: AbortSignal): Promise<Reading | null> {
  const worker = new ReaderWorker();
  try {
    const outcome = await new Promise<Outcome | null>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<Outcome>) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message || 'the thread that reads could not be started'));
      worker.onmessageerror = () => reject(new Error('what was read could not be handed over'));
      signal.addEventListener('abort', () => resolve(null));
      worker.postMessage({ file, modules: modules() } satisfies Request);
    });
    if (!outcome || 'problem' in outcome) return outcome;
    const { salvaged } = outcome;
    return {
      ...outcome,
      dictionary: FileDictionary.fromMessage(outcome.dictionary),
      salvaged: salvaged && { ...salvaged, dictionary: FileDictionary.fromMessage(salvaged.dictionary) },
    };
  } finally {
    worker.terminate();
  }
}
