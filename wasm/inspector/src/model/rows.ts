/** The table of files: entries of the dictionary and picked files, brought together; and how it is searched, filtered and sorted. */
import type { FileEntry } from 'stillkey';
import { baseName, type Picked } from './intake.js';
import { type Entries, type Kind, type Kinds, noKinds } from './kinds.js';
import { type Said, say } from './text.js';

/** What can be said about a file, what needs attention first. */
export const states = ['key missing', 'unknown method', 'no entry', 'plaintext', 'locked', 'not picked', 'ready'] as const;
export type State = (typeof states)[number];

/** What each state is called. */
export const stateName: Record<State, Said> = {
  ready: say('ready'),
  'not picked': say('not picked'),
  locked: say('locked'),
  'key missing': say('key missing'),
  'unknown method': say('unknown method'),
  plaintext: say('plaintext'),
  'no entry': say('no entry'),
};

/** What each state means, for whoever points at it. */
export const stateMeaning: Record<State, Said> = {
  ready: say('Entry, key and file are here: it can be read.'),
  'not picked': say('Entry and key are here; the file itself was not picked.'),
  locked: say('The entry is here; key.dict is not open yet.'),
  'key missing': say('The entry names a data key that key.dict doesn’t hold.'),
  'unknown method': say('The entry names a method that this release doesn’t know.'),
  plaintext: say('The entry says that the file is not encrypted.'),
  'no entry': say('The file was picked, but file.dict has no entry for it: TiKV takes it for plaintext.'),
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

/** A list whose items are made when they are looked at: most never are. */
export interface Rows<R> {
  readonly length: number;
  at(index: number): R | undefined;
}

/** Ids of the keys at hand; `null` while key.dict isn't open. */
export type KnownKeys = ReadonlySet<bigint> | null;

/** Lets others have their turn, if it is time; says whether to go on. */
export type Turn = (done: number, all: number) => Promise<boolean>;

/** Names that are looked at between two turns. */
const SLICE = 4096;

/** What uses a key. */
export interface Use {
  /** Entries that name it. */
  files: number;
  /** Size of those of its files that were picked. */
  bytes: number;
  readonly methods: Set<string>;
}

/** What the rows of a kind show. */
interface KindColumns {
  readonly key: string;
  readonly method: string;
  readonly state: State;
}

/** The table, entries first, in the order of their names, then picked files without an entry; and what is to be said of it as a whole. */
export class Listing implements Rows<Row> {
  readonly length: number;
  /** Values of the columns, with what has them. */
  readonly keys = new Map<string, Use>();
  readonly methods = new Set<string>();
  readonly states = new Map<State, number>();

  readonly #entries: Entries | null;
  readonly #kinds: readonly KindColumns[];
  readonly #kindOf: Uint32Array;
  readonly #fileOf: ReadonlyMap<number, Picked>;
  readonly #strays: readonly Picked[];

  /** `fileOf` has the picked files of entries, `strays` those without one. */
  constructor(
    entries: Entries | null = null,
    { all, of }: Kinds = noKinds,
    known: KnownKeys = null,
    fileOf: ReadonlyMap<number, Picked> = new Map(),
    strays: readonly Picked[] = [],
  ) {
    this.#entries = entries;
    this.#kinds = all.map((kind) => ({
      key: kind.method === 'plaintext' ? '' : String(kind.keyId),
      method: kind.method === 'unknown' ? `unknown (${kind.methodNumber})` : kind.method,
      state: stateOf(kind, known),
    }));
    this.#kindOf = of;
    this.#fileOf = fileOf;
    this.#strays = strays;
    this.length = of.length + strays.length;
    all.forEach(({ entries: number }, at) => {
      const { key, method, state } = this.#kinds[at] as KindColumns;
      this.#count(state, number);
      this.methods.add(method);
      if (!key) return;
      let use = this.keys.get(key);
      if (!use) this.keys.set(key, (use = { files: 0, bytes: 0, methods: new Set() }));
      use.files += number;
      use.methods.add(method);
    });
    for (const [at, { file }] of fileOf) {
      const { key, state } = this.#kindAt(at);
      this.#count(state, -1);
      this.#count(withFile(state), 1);
      const use = this.keys.get(key);
      if (use) use.bytes += file.size;
    }
    if (strays.length) this.#count('no entry', strays.length);
  }

  at(index: number): Row | undefined {
    const stray = this.#strays[index - this.#kindOf.length];
    if (stray) return { name: stray.path, entry: null, picked: stray, state: 'no entry', key: '', method: '', size: stray.file.size };
    const entry = this.#entries?.entryAt(index);
    if (!entry) return undefined;
    const { key, method } = this.#kindAt(index);
    return { name: entry.name, entry, picked: this.#fileOf.get(index) ?? null, state: this.stateAt(index), key, method, size: this.sizeAt(index) };
  }

  /** The row of an entry; where there is none, of a picked file. */
  ofName(name: string): Row | undefined {
    const index = this.#entries?.indexOf(name) ?? -1;
    return index < 0 ? this.#stray(({ path }) => path === name) : this.at(index);
  }

  /** The row of a picked file. */
  ofFile(picked: Picked): Row | undefined {
    for (const [index, file] of this.#fileOf) if (file === picked) return this.at(index);
    return this.#stray((file) => file === picked);
  }

  #stray(is: (file: Picked) => boolean): Row | undefined {
    const at = this.#strays.findIndex(is);
    return at < 0 ? undefined : this.at(this.#kindOf.length + at);
  }

  nameAt(index: number): string {
    return this.#entries?.nameAt(index) ?? this.#strays[index - this.#kindOf.length]?.path ?? '';
  }

  keyAt(index: number): string {
    return this.#kindAt(index).key;
  }

  methodAt(index: number): string {
    return this.#kindAt(index).method;
  }

  stateAt(index: number): State {
    const { state } = this.#kindAt(index);
    return this.#fileOf.has(index) ? withFile(state) : state;
  }

  sizeAt(index: number): number {
    return (this.#fileOf.get(index) ?? this.#strays[index - this.#kindOf.length])?.file.size ?? -1;
  }

  #kindAt(index: number): KindColumns {
    return this.#kinds[this.#kindOf[index] ?? -1] ?? strayKind;
  }

  #count(state: State, number: number): void {
    const now = (this.states.get(state) ?? 0) + number;
    if (now) this.states.set(state, now);
    else this.states.delete(state);
  }
}

const strayKind: KindColumns = { key: '', method: '', state: 'no entry' };

/** What an entry is without its file. */
function stateOf({ method, keyId }: Kind, known: KnownKeys): State {
  if (method === 'plaintext') return 'plaintext';
  if (method === 'unknown') return 'unknown method';
  if (!known) return 'locked';
  return known.has(keyId) ? 'not picked' : 'key missing';
}

function withFile(state: State): State {
  return state === 'not picked' ? 'ready' : state;
}

/** Brings entries and picked files together; `bound` are those that names don't tell. `null` when `turn` ended it. */
export async function list(
  entries: Entries | null,
  kinds: Kinds,
  picked: readonly Picked[],
  known: KnownKeys,
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
  const files = new Map<number, Picked>();
  const used = new Set<Picked>();
  const all = entries && picked.length ? entries.entryCount : 0;
  for (let at = 0; at < all; at++) {
    if (at % SLICE === 0 && !(await turn(at, all))) return null;
    const name = entries?.nameAt(at) ?? '';
    const candidates = byBaseName.get(baseName(name));
    const file = bound.get(name) ?? (candidates && bestMatch(name, candidates));
    if (!file) continue;
    files.set(at, file);
    used.add(file);
  }
  return new Listing(entries, kinds, known, files, picked.filter((one) => !used.has(one)));
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

/** All of it, what needs attention first. */
export const everything: Query = { search: '', key: '', method: '', state: '', sort: 'state', down: false };

/** The rows that a query asks for, in its order. */
export function select(listing: Listing, query: Query): Rows<Row> {
  const found = filtered(listing, query);
  // Entries come sorted by name, and picked files behind them.
  const isSorted = query.sort === 'name' || (query.sort === 'state' && listing.states.size < 2);
  const sorted = isSorted ? found : sortedBy(listing, query.sort as Exclude<Column, 'name'>, found);
  if (query.down) sorted.reverse();
  return { length: sorted.length, at: (index) => listing.at(sorted[index] ?? -1) };
}

/** The places of the rows that fit. */
function filtered(listing: Listing, { search, key, method, state }: Query): Uint32Array {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = new Uint32Array(listing.length);
  let count = 0;
  for (let at = 0; at < listing.length; at++) {
    if (key && listing.keyAt(at) !== key) continue;
    if (method && listing.methodAt(at) !== method) continue;
    if (state && listing.stateAt(at) !== state) continue;
    if (words.length) {
      const name = listing.nameAt(at).toLowerCase();
      if (!words.every((word) => name.includes(word))) continue;
    }
    found[count++] = at;
  }
  return found.subarray(0, count);
}

/** Few values, many rows: only the values are compared. */
function sortedBy(listing: Listing, column: Exclude<Column, 'name'>, rows: Uint32Array): Uint32Array {
  const valueAt = { key: listing.keyAt, method: listing.methodAt, state: (row: number) => states.indexOf(listing.stateAt(row)), size: listing.sizeAt }[column].bind(listing);
  const numbers = new Map<string | number, number>();
  for (const row of rows) {
    const value = valueAt(row);
    numbers.set(value, (numbers.get(value) ?? 0) + 1);
  }
  // Where the rows of each value begin.
  let start = 0;
  for (const [value, number] of [...numbers].sort(([a], [b]) => (a < b ? -1 : 1))) {
    numbers.set(value, start);
    start += number;
  }
  const sorted = new Uint32Array(rows.length);
  for (const row of rows) {
    const value = valueAt(row);
    const place = numbers.get(value) ?? 0;
    sorted[place] = row;
    numbers.set(value, place + 1);
  }
  return sorted;
}
