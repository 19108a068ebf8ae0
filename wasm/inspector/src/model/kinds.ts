/** What entries have in common: few keys have many files, and what is true of a file is mostly true of all that are encrypted as it is. */
import type { FileDictionary, FileEntry } from 'stillkey';

/** Entries under the same key with the same method. */
export interface Kind {
  readonly keyId: bigint;
  readonly method: FileEntry['method'];
  readonly methodNumber: number;
  entries: number;
}

/** All kinds, and of which one each entry is. */
export interface Kinds {
  readonly all: readonly Kind[];
  /** For each entry, the place of its kind in `all`. */
  readonly of: Uint32Array<ArrayBuffer>;
}

export const noKinds: Kinds = { all: [], of: new Uint32Array() };

/** What a dictionary's entries are sorted out by. */
export type Entries = Pick<FileDictionary, 'entryCount' | 'entryAt' | 'nameAt' | 'keyIdAt' | 'methodNumberAt' | 'indexOf'>;

/** Sorts the entries out, in the order of the first of each kind. Of millions it takes a while: a thread does it. */
export function kindsOf(entries: Entries): Kinds {
  const all: Kind[] = [];
  const of = new Uint32Array(entries.entryCount);
  const byMethod = new Map<number, Map<bigint, number>>();
  for (let at = 0; at < of.length; at++) {
    const [keyId = 0n, methodNumber = 0] = [entries.keyIdAt(at), entries.methodNumberAt(at)];
    let byKey = byMethod.get(methodNumber);
    if (!byKey) byMethod.set(methodNumber, (byKey = new Map()));
    let kind = byKey.get(keyId);
    if (kind === undefined) {
      byKey.set(keyId, (kind = all.length));
      all.push({ keyId, method: entries.entryAt(at)?.method ?? 'unknown', methodNumber, entries: 0 });
    }
    of[at] = kind;
    (all[kind] as Kind).entries++;
  }
  return { all, of };
}
