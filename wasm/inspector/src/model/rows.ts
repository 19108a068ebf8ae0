/** The table of files: entries of the dictionary and picked files, brought together; and how it is searched, filtered and sorted. */
import type { FileDictionary, FileEntry } from 'stillkey';
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

/** What rows are made of. */
export type Entries = Pick<FileDictionary, 'entryCount' | 'entryAt'>;

/** Lets others have their turn, if it is time; says whether to go on. */
export type Turn = (done: number, all: number) => Promise<boolean>;

/** Rows that are made between two turns. */
const SLICE = 4096;

/** A row of the dictionary. Its entry is made when it is looked at: most never are, and one takes more memory than all the rest. */
class EntryRow implements Row {
  constructor(
    private readonly entries: Entries,
    private readonly at: number,
    readonly name: string,
    readonly picked: Picked | null,
    readonly state: State,
    readonly key: string,
    readonly method: string,
  ) {}

  get entry(): FileEntry | null {
    return this.entries.entryAt(this.at) ?? null;
  }

  get size(): number {
    return this.picked?.file.size ?? -1;
  }
}

/** What uses a key. */
export interface Use {
  /** Entries that name it. */
  files: number;
  /** Size of those of its files that were picked. */
  bytes: number;
  readonly methods: Set<string>;
}

/** The table, and what is to be said of it as a whole: counted on the way, since one look at millions of rows is long enough. */
export class Listing {
  readonly rows: Row[] = [];
  /** Values of the columns, in the order of their first appearance, with what has them. */
  readonly keys = new Map<string, Use>();
  readonly methods = new Set<string>();
  readonly states = new Map<State, number>();

  add(row: Row): void {
    const { key, method, state, size } = row;
    this.rows.push(row);
    this.states.set(state, (this.states.get(state) ?? 0) + 1);
    if (method) this.methods.add(method);
    if (!key) return;
    let use = this.keys.get(key);
    if (!use) this.keys.set(key, (use = { files: 0, bytes: 0, methods: new Set() }));
    use.files++;
    use.bytes += Math.max(0, size);
    use.methods.add(method);
  }
}

/** All rows, entries first, in the order of their names; `null` when `turn` ended it. */
export async function list(
  entries: Entries | null,
  picked: readonly Picked[],
  keys: KnownKeys,
  bound: ReadonlyMap<string, Picked>,
  turn: Turn,
): Promise<Listing | null> {
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
  const listing = new Listing();
  const all = entries?.entryCount ?? 0;
  for (let at = 0; at < all; at++) {
    if (at % SLICE === 0 && !(await turn(at, all))) return null;
    const entry = entries?.entryAt(at);
    if (!entries || !entry) break;
    const { name } = entry;
    const candidates = picked.length ? byBaseName.get(baseName(name)) : undefined;
    const file = bound.get(name) ?? (candidates ? bestMatch(name, candidates) : null);
    if (file) used.add(file);
    const key = entry.method === 'plaintext' ? '' : textOf(entry.keyId);
    const method = entry.method === 'unknown' ? `unknown (${entry.methodNumber})` : entry.method;
    listing.add(new EntryRow(entries, at, name, file, stateOf(entry, file, keys), key, method));
  }
  for (const one of picked) {
    if (used.has(one)) continue;
    listing.add({ name: one.path, entry: null, picked: one, state: 'no entry', key: '', method: '', size: one.file.size });
  }
  return listing;
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
export function select(rows: readonly Row[], query: Query): readonly Row[] {
  const words = query.search.toLowerCase().split(/\s+/).filter(Boolean);
  const asksForAll = !query.key && !query.method && !query.state && !words.length;
  const found = asksForAll
    ? rows
    : rows.filter(
        (row) =>
          (!query.key || row.key === query.key) &&
          (!query.method || row.method === query.method) &&
          (!query.state || row.state === query.state) &&
          (!words.length || words.every((word) => row.name.toLowerCase().includes(word))),
      );
  // Entries come sorted by name, and picked files behind them.
  const sorted = query.sort === 'name' ? found : sortedBy(found, query.sort);
  return query.down ? [...sorted].reverse() : sorted;
}

/** Few values, many rows: only the values are compared. */
function sortedBy(rows: readonly Row[], column: Exclude<Column, 'name'>): Row[] {
  const groups = new Map<string | number, Row[]>();
  for (const row of rows) {
    const group = groups.get(row[column]);
    if (group) group.push(row);
    else groups.set(row[column], [row]);
  }
  const inOrder = [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
  return inOrder.flatMap(([, group]) => group);
}
