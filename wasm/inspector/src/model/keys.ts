/** Data keys and what uses them: those of key.dict, and those that files ask for and key.dict lacks. */
import type { KeyEntry } from 'stillkey';
import type { Use } from './rows.js';
import { type Said, say } from './text.js';

export type KeyTag = 'current' | 'old' | 'exposed' | 'missing' | 'locked';

/** What each mark of a key is called. */
export const tagName: Record<KeyTag, Said> = {
  current: say('current'),
  old: say('old'),
  exposed: say('exposed'),
  missing: say('missing'),
  locked: say('locked'),
};

/** A key, with its files. */
export interface KeyUse {
  readonly id: string;
  readonly methods: readonly string[];
  /** Seconds since 1970; `null` when key.dict doesn't say. */
  readonly made: bigint | null;
  readonly tags: readonly KeyTag[];
  /** Entries that name it. */
  readonly files: number;
  /** Size of those of its files that were picked. */
  readonly bytes: number;
}

/** More keys than this, which only a mistake or malice makes, are not shown one by one. */
export const MOST_KEYS = 500;

/** All keys: the current one, the others from the newest on, those that are missing. */
export function useOf(keys: readonly KeyEntry[] | null, used: ReadonlyMap<string, Use>): KeyUse[] {
  const byId = new Map(used);
  const inOrder = [...(keys ?? [])].sort((a, b) => Number(b.isCurrent) - Number(a.isCurrent) || Number(b.creationTime - a.creationTime));
  const known = inOrder.map((key): KeyUse => {
    const id = String(key.id);
    const used = byId.get(id);
    byId.delete(id);
    const tags: KeyUse['tags'] = key.wasExposed ? [key.isCurrent ? 'current' : 'old', 'exposed'] : [key.isCurrent ? 'current' : 'old'];
    return { id, methods: [key.method], made: key.creationTime, tags, files: used?.files ?? 0, bytes: used?.bytes ?? 0 };
  });
  const others = [...byId].map(
    ([id, { files, bytes, methods }]): KeyUse => ({ id, methods: [...methods], made: null, tags: [keys ? 'missing' : 'locked'], files, bytes }),
  );
  return [...known, ...others];
}
