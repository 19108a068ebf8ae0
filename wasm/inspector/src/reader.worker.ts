/** The thread that reads a `file.dict`: one request comes, one outcome goes. */
import { FileDictionary, init, type InitOptions, type Verdict } from 'stillkey';
import { explain, type Explanation } from './model/explain.js';
import { type Kinds, kindsOf } from './model/kinds.js';

/** How the log ends in TiKV's eyes; `null` when TiKV would not read it. */
export type TikvVerdict = Verdict | null;

/** What is to be read, by modules that the page has at hand. */
export interface Request {
  readonly file: File;
  readonly modules: InitOptions;
}

/** A dictionary as it travels, or why there is none. */
export type Outcome = { readonly dictionary: unknown; readonly kinds: Kinds; readonly tikv: TikvVerdict } | { readonly problem: Explanation };

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
    postMessage({ dictionary: message, kinds, tikv } satisfies Outcome, { transfer: [...transfer, kinds.of.buffer] });
  } catch (error) {
    postMessage({ problem: explain(error, 'file.dict') } satisfies Outcome);
  }
}

/** As TiKV reads it: torn where the strict reading says damaged, and the other way round never. */
function tikvVerdict(bytes: Uint8Array): TikvVerdict {
  try {
    return FileDictionary.parse(bytes, { reading: 'tikv' }).verdict;
  } catch {
    return null;
  }
}
