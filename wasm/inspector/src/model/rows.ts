/** The table of files: entries of the dictionary and picked files, brought together; and how it is searched, filtered and sorted. */
import type { FileEntry } from 'stillkey';
import { baseName, type Picked } from './intake.js';

/** What can be said about a file. */
export const states = ['ready', 'not picked', 'locked', 'key missing', 'unknown method', 'plaintext', 'no entry'] as const;
export type State = (typeof states)[number];

/** What each state means, for whoever points at it. */
export const stateMeaning: Record<State, string> = {
  ready: 'Entry, key and file are here: it can be read.',
  'not picked': 'Entry and key are here; the file itself was not picked.',
  locked: 'The entry is here; key.dict is not open yet.',
  'key missing': 'The entry names a data key that key.dict doesn’t hold.',
  'unknown method': 'The entry names a method that this release doesn’t know.',
  plaintext: 'The entry says that the file is not encrypted.',
  'no entry': 'The file was picked, but file.dict has no entry for it: TiKV takes it for plaintext.',
};

/** A line of the table. */
export interface Row {
  readonly name: string;
  readonly entry: FileEntry | null;
  readonly picked: Picked | null;
  readonly state: State;
  /** The key's id as text; empty without an entry. */
  readonly key: string;
  readonly method: string;
  readonly size: number;
}

/** Ids of the keys at hand; `null` while key.dict isn't open. */
export type KnownKeys = ReadonlySet<bigint> | null;

/** All rows, entries first, in the order of their names. */
export function rowsOf(entries: readonly FileEntry[], picked: readonly Picked[], keys: KnownKeys, bound: ReadonlyMap<string, Picked>): Row[] {
  const byBaseName = new Map<string, Picked[]>();
  for (const one of picked) {
    const name = baseName(one.path);
    const others = byBaseName.get(name);
    if (others) others.push(one);
    else byBaseName.set(name, [one]);
  }
  const used = new Set<Picked>();
  // Few keys have many files, and numbers of 64 bits take long to write out.
  const ids = new Map<bigint, string>();
  const textOf = (id: bigint) => {
    let text = ids.get(id);
    if (text === undefined) ids.set(id, (text = String(id)));
    return text;
  };
  const rows = entries.map((entry): Row => {
    const candidates = picked.length ? byBaseName.get(baseName(entry.name)) : undefined;
    const file = bound.get(entry.name) ?? (candidates ? bestMatch(entry.name, candidates) : null);
    if (file) used.add(file);
    return {
      name: entry.name,
      entry,
      picked: file,
      state: stateOf(entry, file, keys),
      key: entry.method === 'plaintext' ? '' : textOf(entry.keyId),
      method: entry.method === 'unknown' ? `unknown (${entry.methodNumber})` : entry.method,
      size: file ? file.file.size : -1,
    };
  });
  for (const one of picked) {
    if (used.has(one)) continue;
    rows.push({ name: one.path, entry: null, picked: one, state: 'no entry', key: '', method: '', size: one.file.size });
  }
  return rows;
}

/** Of files with the same last name, the one that shares most of the path's end. */
function bestMatch(name: string, candidates: readonly Picked[]): Picked | null {
  let [best, most] = [null as Picked | null, -1];
  for (const candidate of candidates) {
    const shared = sharedEnd(name, candidate.path);
    if (shared > most) [best, most] = [candidate, shared];
  }
  return best;
}

function sharedEnd(a: string, b: string): number {
  const [one, other] = [a.split('/').reverse(), b.split('/').reverse()];
  const until = one.findIndex((part, at) => part !== other[at]);
  return until < 0 ? one.length : until;
}

function stateOf(entry: FileEntry, file: Picked | null, keys: KnownKeys): State {
  if (entry.method === 'plaintext') return 'plaintext';
  if (entry.method === 'unknown') return 'unknown method';
  if (keys && !keys.has(entry.keyId)) return 'key missing';
  if (!keys) return 'locked';
  return file ? 'ready' : 'not picked';
}

export type Column = 'name' | 'key' | 'method' | 'size' | 'state';

/** What is to be seen of the table. */
export interface Query {
  readonly search: string;
  readonly key: string;
  readonly method: string;
  readonly state: string;
  readonly sort: Column;
  readonly down: boolean;
}

export const everything: Query = { search: '', key: '', method: '', state: '', sort: 'name', down: false };

/** The rows that a query asks for, in its order. */
export function select(rows: readonly Row[], query: Query): Row[] {
  const words = query.search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = rows.filter(
    (row) =>
      (!query.key || row.key === query.key) &&
      (!query.method || row.method === query.method) &&
      (!query.state || row.state === query.state) &&
      (!words.length || words.every((word) => row.name.toLowerCase().includes(word))),
  );
  // Entries come sorted by name, and picked files behind them.
  if (query.sort !== 'name') {
    const column = query.sort;
    found.sort((a, b) => (column === 'size' ? a.size - b.size : a[column] < b[column] ? -1 : a[column] > b[column] ? 1 : 0));
  }
  return query.down ? found.reverse() : found;
}

/** The different values of a column, in the order of their first appearance. */
export function valuesOf(rows: readonly Row[], column: 'key' | 'method' | 'state'): string[] {
  return [...new Set(rows.map((row) => row[column]))].filter(Boolean);
}
