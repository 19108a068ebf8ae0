/** The thread that reads a `file.dict`: one request comes, one outcome goes. */
import { FileDictionary, init, type InitOptions, type LostPart, type Verdict } from 'stillkey';
import { explain, type Explanation } from './model/explain.js';
import { type Kinds, kindsOf } from './model/kinds.js';

/** How the log ends in TiKV's eyes; `null` when TiKV would not read it. */
export type TikvVerdict = Verdict | null;

/** What is to be read, by modules that the page has at hand. */
export interface Request {
  readonly file: Blob;
  readonly modules: InitOptions;
}

/** A dictionary as it travels, or why there is none. */
export type Outcome =
  | { readonly dictionary: unknown; readonly kinds: Kinds; readonly tikv: TikvVerdict; readonly isZero: boolean; readonly salvaged: Salvaged<unknown> | null }
  | { readonly problem: Explanation };

/** What was found in a log that isn't whole. */
export interface Salvaged<D> {
  readonly dictionary: D;
  readonly lost: readonly LostPart[];
  /** A file.dict with all entries that were found. */
  readonly repaired: Blob;
}

addEventListener('message', ({ data }: MessageEvent<Request>) => void read(data));

async function read({ file, modules }: Request): Promise<void> {
  try {
    await init(modules);
    const bytes = new Uint8Array(await file.arrayBuffer());
    const dictionary = FileDictionary.parse(bytes);
    const { verdict } = dictionary;
    const tikv = verdict.state === 'complete' ? verdict : tikvVerdict(bytes);
    const kinds = kindsOf(dictionary);
    const [message, transfer] = dictionary.toMessage();
    const end = verdict.state === 'complete' ? bytes.length : verdict.at;
    const isZero = end < bytes.length && bytes.subarray(end).every((byte) => byte === 0);
    const [salvaged, more] = verdict.state === 'complete' ? [null, []] : salvage(bytes);
    postMessage({ dictionary: message, kinds, tikv, isZero, salvaged } satisfies Outcome, { transfer: [...transfer, ...more, kinds.of.buffer] });
  } catch (error) {
    postMessage({ problem: explain(error, 'file.dict') } satisfies Outcome);
  }
}

function salvage(bytes: Uint8Array): [Salvaged<unknown>, ArrayBuffer[]] {
  const { dictionary, lost, bytes: repaired } = FileDictionary.salvage(bytes);
  const [message, transfer] = dictionary.toMessage();
  return [{ dictionary: message, lost, repaired: new Blob([repaired]) }, transfer];
}

/** As TiKV reads it: torn where the strict reading says damaged, and the other way round never. */
function tikvVerdict(bytes: Uint8Array): TikvVerdict {
  try {
    return FileDictionary.parse(bytes, { reading: 'tikv' }).verdict;
  } catch {
    return null;
  }
}
