/** What is open on the page, and everything that can be done to it. Nothing of it is stored, and it all ends with the tab. */
import { type FileDictionary, KeyDictionary, type KeyEntry, MasterKey, SealedObject, type Sealing } from 'stillkey';
import { size as sizeText } from './model/bytes.js';
import { empty, explain, type Explanation, locked, otherForm, tooLarge } from './model/explain.js';
import type { LogFacts } from './model/findings.js';
import { asideOf, baseName, folderOf, type Group, groupsOf, MOST_FILES, pairOf, type Picked, roleOf } from './model/intake.js';
import { type Kinds, noKinds } from './model/kinds.js';
import { shown } from './model/names.js';
import { everything, list, Listing, type Query, type Row } from './model/rows.js';
import { type Finding, summarise } from './model/summary.js';
import { type Said, say } from './model/text.js';
import { judge } from './model/verdict.js';
import { decryptedSource, plainSource, sampleOf, sealedSource, type Source } from './model/source.js';
import { readFileDict } from './reader.js';
import type { Salvaged } from './reader.worker.js';

/**
 * A dictionary is read as a whole, so it may not be any length. Keys stay in the page's own module, so nothing else happens while they are
 * read: this is room for 100,000 keys, and less than a second.
 */
const MOST_FILE_DICT = 128 << 20;
const MOST_KEY_DICT = 4 << 20;

/** Milliseconds after which long work lets the page have its turn. */
const TURN = 20;

export interface KeyDictState {
  readonly picked: Picked;
  readonly bytes: Uint8Array | null;
  readonly sealing: Sealing | null;
  handle: KeyDictionary | null;
  keys: readonly KeyEntry[] | null;
  problem: Explanation | null;
  /** Whether the problem is more than that a key has to be given. */
  isBroken: boolean;
}

export interface FileDictState {
  readonly picked: Picked;
  readonly dictionary: FileDictionary | null;
  readonly kinds: Kinds;
  /** How its log ends; `null` when it can't be read. */
  readonly log: LogFacts | null;
  readonly salvaged: Salvaged<FileDictionary> | null;
  readonly problem: Explanation | null;
}

/** A file that is looked into. */
export interface Opened {
  readonly row: Row;
  readonly disk: Source;
  /** The decrypted side; `null` while it can't be had. */
  readonly plain: Source | null;
  /** The header of a sealed object. */
  readonly sealed: ReturnType<typeof SealedObject.header> | null;
  readonly messages: readonly Explanation[];
  readonly tiflashName: string;
  readonly context: string;
}

export type View = 'overview' | 'files' | 'log' | 'file';

/** What belongs together: dictionaries of one directory, and its files. No file is ever read under another store's entries. */
export class Store {
  keyDicts: Picked[];
  fileDicts: Picked[];
  keyDict: KeyDictState | null = null;
  fileDict: FileDictState | null = null;
  masterKey: MasterKey | null = null;
  masterProblem: Explanation | null = null;
  picked: readonly Picked[];
  query: Query = everything;
  opened: Opened | null = null;
  listing = new Listing();
  readonly bound = new Map<string, Picked>();
  isRead = false;

  constructor(
    readonly name: string,
    readonly group: Group,
  ) {
    this.keyDicts = [...group.keyDicts];
    this.fileDicts = [...group.fileDicts];
    this.picked = group.data;
  }

  /** What is to be said of it as a whole. */
  get findings(): readonly Finding[] {
    const { keyDict, fileDict, listing, masterKey, picked } = this;
    return summarise({
      keyDict,
      fileDict: fileDict && { log: fileDict.log, version: fileDict.dictionary?.version ?? 2 },
      states: listing.states,
      hasKey: masterKey !== null,
      hasFiles: picked.length > 0,
    });
  }

  free(): void {
    this.opened?.plain?.free();
    this.keyDict?.handle?.free();
    this.masterKey?.free();
    this.opened = this.keyDict = this.fileDict = this.masterKey = null;
  }
}

const nothingOpen = () => new Store('', { folder: '', keyDicts: [], fileDicts: [], data: [] });

export class Session {
  view: View = 'overview';
  stores: readonly Store[] = [];
  store: Store = nothingOpen();
  notes: readonly Explanation[] = [];
  busy: Said | null = null;
  /** What is looked for in the log: part of a name, or one name's history. */
  logSearch: { readonly name: string; readonly isExact: boolean } = { name: '', isExact: false };
  /** Where the bytes of the open file are looked at. */
  offset = 0;
  /** Where tables were scrolled to and what was chosen in them, for the way back. */
  readonly places = new Map<string, { top: number; chosen: number }>();

  #opening = 0;
  #listings = 0;
  #running = 0;
  #closings = 0;
  #reading: AbortController | null = null;
  readonly #listeners = new Set<() => void>();

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get keyDict(): KeyDictState | null {
    return this.store.keyDict;
  }

  get fileDict(): FileDictState | null {
    return this.store.fileDict;
  }

  get masterKey(): MasterKey | null {
    return this.store.masterKey;
  }

  get picked(): readonly Picked[] {
    return this.store.picked;
  }

  get query(): Query {
    return this.store.query;
  }

  get opened(): Opened | null {
    return this.store.opened;
  }

  get listing(): Listing {
    return this.store.listing;
  }

  /** Whether anything is open. */
  get hasContent(): boolean {
    return this.stores.length > 0;
  }

  /** Whether something goes on that {@link cancel} ends. */
  get canCancel(): boolean {
    return this.#reading !== null;
  }

  /** Gives up reading a dictionary; what was open before stays. */
  cancel(): void {
    this.#reading?.abort();
  }

  /** Lists the files anew; a later call ends an earlier one. */
  async #list(store: Store): Promise<void> {
    const number = ++this.#listings;
    const keys = store.keyDict?.keys ? new Set(store.keyDict.keys.map(({ id }) => id)) : null;
    let began = performance.now();
    const listing = await list(store.fileDict?.dictionary ?? null, store.fileDict?.kinds ?? noKinds, store.picked, keys, store.bound, async (done, all) => {
      if (performance.now() - began > TURN) {
        this.#say(say('Listing the files, {percent} %…', { percent: Math.floor((100 * done) / all) }));
        await turn();
        began = performance.now();
      }
      return number === this.#listings;
    });
    if (listing) store.listing = listing;
  }

  show(view: View): void {
    this.view = view;
    this.#changed();
  }

  searchLog(name: string, isExact: boolean): void {
    this.logSearch = { name, isExact };
    this.places.delete('log');
    this.#changed();
  }

  moveTo(offset: number): void {
    this.offset = offset;
    this.#changed();
  }

  ask(query: Partial<Query>): void {
    this.store.query = { ...this.query, ...query };
    this.places.delete('files');
    this.#changed();
  }

  /**
   * Takes in what was picked or dropped. A directory with dictionaries is a store of its own, and so are files with another file.dict than
   * the open one; anything else adds to the store that is open.
   */
  async add(files: readonly Picked[]): Promise<void> {
    const notes: Explanation[] = [];
    if (!files.length) notes.push({ tone: 'info', title: say('Nothing was picked'), text: say('The directory holds no files, or the browser gave none.') });
    if (files.length >= MOST_FILES) notes.push({ tone: 'warn', title: say('Not all files were taken'), text: say('The page takes {n} files at once; drop a smaller directory to see the rest.', { n: MOST_FILES }) });
    const closings = this.#closings;
    await this.#during(say('Reading…'), async () => {
      const groups = groupsOf(files);
      const isLoose = files.every(({ path }) => !path.includes('/'));
      const { store } = this;
      const [group] = groups;
      const hasDictionaries = files.some(({ path }) => roleOf(path) !== 'data');
      const joins = this.hasContent && group && groups.length === 1 && (!hasDictionaries || (isLoose && (!group.fileDicts.length || !store.fileDict)));
      if (!joins) {
        if (group) await this.#addStores(groups, notes, closings);
      } else {
        await this.#join(store, group, notes);
        if (closings !== this.#closings) return;
      }
      if (files.length && !hasDictionaries && !this.store.fileDict && files.length > 1) {
        notes.push({
          tone: 'warn',
          title: say('No dictionary among these files'),
          text: say('None of the {n} files is called key.dict or file.dict. Single files can be looked at as they are.', { n: files.length }),
          next: [say('Drop the directory that holds key.dict and file.dict; the store keeps both at the top of its data directory.')],
        });
      }
      this.notes = notes;
      if (closings !== this.#closings) return;
      const only = files.length === 1 && !hasDictionaries ? files[0] : undefined;
      if (only) await this.open(this.listing.ofFile(only) ?? null);
      else if (this.view === 'file' && this.opened) await this.open(this.listing.ofName(this.opened.row.name) ?? null);
    });
  }

  async #addStores(groups: readonly Group[], notes: Explanation[], closings: number): Promise<void> {
    const added: Store[] = [];
    for (const group of groups) added.push(new Store(this.#nameOf(group, added), group));
    const [first] = added;
    if (!first || !(await this.#read(first, notes)) || closings !== this.#closings) {
      first?.free();
      return;
    }
    if (added.length > 1) {
      notes.push({
        tone: 'info',
        title: say('{n|store was|stores were} found', { n: added.length }),
        text: say('Each directory with dictionaries of its own is a store, and files are read under those of their own store only. This is {name}; the others are in the list above.', { name: shown(first.name) }),
      });
    }
    this.stores = [...this.stores, ...added];
    this.#switch(first);
  }

  /** Adds files to an open store. */
  async #join(store: Store, group: Group, notes: Explanation[]): Promise<void> {
    const known = new Map(store.picked.map((one) => [one.path, one]));
    for (const one of group.data) known.set(one.path, one);
    store.picked = [...known.values()];
    const [keyDict, fileDict] = pairOf(group);
    const before = store.keyDict?.picked.path;
    store.keyDicts = [...store.keyDicts, ...group.keyDicts];
    store.fileDicts = [...store.fileDicts, ...group.fileDicts];
    const key = keyDict ?? group.keyDicts[0];
    if (key) await this.#setKeyDict(store, key);
    if (key && before !== undefined) {
      notes.push({
        tone: 'warn',
        title: say('Another key.dict is used now'),
        text: say('{now} in place of {before}, with the same file.dict as before. Two that aren’t of the same moment may not fit together; the list of dictionaries goes back.', { now: shown(key.path), before: shown(before) }),
      });
    }
    if (fileDict) await this.#setFileDict(store, fileDict, notes);
    await this.#list(store);
  }

  /** Reads a store's dictionaries; `false` when that was cancelled. */
  async #read(store: Store, notes: Explanation[]): Promise<boolean> {
    const [keyDict, fileDict] = pairOf(store.group);
    if (keyDict) await this.#setKeyDict(store, keyDict);
    if (fileDict && !(await this.#setFileDict(store, fileDict, notes))) return false;
    store.isRead = true;
    await this.#list(store);
    if (keyDict && fileDict && folderOf(keyDict.path) !== folderOf(fileDict.path)) {
      notes.push({
        tone: 'warn',
        title: say('key.dict and file.dict come from different directories'),
        text: say('{key} and {file}. If they are not of the same store and the same moment, keys and files don’t fit together.', { key: shown(keyDict.path), file: shown(fileDict.path) }),
      });
    }
    if (store.keyDicts.length > 1 || store.fileDicts.length > 1) {
      notes.push({
        tone: 'warn',
        title: say('There are several dictionaries in this directory'),
        text: keyDict ? say('Shown are two that belong together by their names. Others can be chosen above.') : say('None is chosen of those that could belong together: choose above.'),
      });
    }
    return true;
  }

  /** Uses another of a store's dictionaries. */
  async choose(role: 'key.dict' | 'file.dict', picked: Picked): Promise<void> {
    const { store } = this;
    const notes: Explanation[] = [];
    await this.#during(say('Reading…'), async () => {
      if (role === 'key.dict') await this.#setKeyDict(store, picked);
      else await this.#setFileDict(store, picked, notes);
      const [key, file] = [store.keyDict?.picked, store.fileDict?.picked];
      if (key && file && asideOf(key.path) !== asideOf(file.path)) {
        notes.push({
          tone: 'warn',
          title: say('These two dictionaries may not belong together'),
          text: say('{key} and {file} have names that differ. With an older key.dict, newer files have no key; with an older file.dict, newer files have no entry.', { key: shown(key.path), file: shown(file.path) }),
        });
      }
      this.notes = notes;
      await this.#list(store);
    });
    if (store.opened) await this.open(store.opened.row);
  }

  /** Goes to another store, which is read when it is looked at for the first time. */
  async goTo(store: Store): Promise<void> {
    if (store === this.store) return;
    this.#switch(store);
    if (store.isRead) return this.#changed();
    const notes: Explanation[] = [];
    await this.#during(say('Reading…'), async () => {
      await this.#read(store, notes);
      this.notes = notes;
    });
  }

  #switch(store: Store): void {
    this.#opening++;
    this.store = store;
    this.notes = [];
    this.offset = 0;
    this.logSearch = { name: '', isExact: false };
    this.places.clear();
    if (this.view === 'file' && !store.opened) this.view = 'overview';
    this.#changed();
  }

  #nameOf(group: Group, added: readonly Store[]): string {
    const first = group.folder || folderOf(group.data[0]?.path ?? '').split('/')[0] || group.fileDicts[0]?.path || group.keyDicts[0]?.path || group.data[0]?.path || '';
    const names = new Set([...this.stores, ...added].map(({ name }) => name));
    let name = first;
    for (let number = 2; names.has(name); number++) name = `${first} (${number})`;
    return name;
  }

  async #setKeyDict(store: Store, picked: Picked): Promise<void> {
    store.keyDict?.handle?.free();
    const { file } = picked;
    const state: KeyDictState = { picked, bytes: null, sealing: null, handle: null, keys: null, problem: null, isBroken: true };
    store.keyDict = state;
    if (file.size === 0) state.problem = empty('key.dict');
    else if (file.size > MOST_KEY_DICT) state.problem = tooLarge('key.dict', file.size, MOST_KEY_DICT);
    else {
      try {
        const bytes = await bytesOf(file);
        store.keyDict = { ...state, bytes, sealing: KeyDictionary.sealing(bytes) };
        this.#openKeyDict(store);
      } catch (error) {
        state.problem = explain(error, 'key.dict');
      }
    }
  }

  /** `false` when it was cancelled. */
  async #setFileDict(store: Store, picked: Picked, notes: Explanation[]): Promise<boolean> {
    const { path, file } = picked;
    const fail = (problem: Explanation): FileDictState => ({ picked, dictionary: null, kinds: noKinds, log: null, salvaged: null, problem });
    this.#reading?.abort();
    this.#reading = null;
    let state: FileDictState;
    if (file.size === 0) state = fail(empty('file.dict'));
    else if (file.size > MOST_FILE_DICT) state = fail(tooLarge('file.dict', file.size, MOST_FILE_DICT));
    else {
      const reading = new AbortController();
      this.#reading = reading;
      this.#say(say('Reading {name}, {size}…', { name: shown(baseName(path)), size: sizeText(file.size) }));
      const outcome = await readFileDict(file, reading.signal).catch((error: unknown) => ({ problem: explain(error, 'file.dict') }));
      // Another one may be read by now.
      if (this.#reading !== reading) return false;
      this.#reading = null;
      if (!outcome) {
        notes.push({ tone: 'info', title: say('Reading was cancelled'), text: say('Nothing of {name} was taken, and what was open before still is.', { name: shown(path) }) });
        return false;
      }
      if ('problem' in outcome) state = fail(outcome.problem);
      else {
        const { dictionary, kinds, tikv, isZero, salvaged } = outcome;
        const { verdict, recordCount: records } = dictionary;
        const behind = salvaged && verdict.state !== 'complete' ? salvaged.dictionary.recordCount - records : 0;
        state = { picked, dictionary, kinds, salvaged, problem: null, log: { verdict, tikv, records, size: file.size, isZero, behind: Math.max(0, behind) } };
      }
    }
    store.bound.clear();
    store.query = everything;
    store.fileDict = state;
    return true;
  }

  /** With the key at hand, or without one where the dictionary is in the clear. */
  #openKeyDict(store: Store): void {
    const state = store.keyDict;
    if (!state?.bytes || !state.sealing) return;
    state.handle?.free();
    state.handle = null;
    state.keys = null;
    state.problem = null;
    state.isBroken = false;
    const inTheClear = state.sealing.method === 'plaintext';
    const key = inTheClear ? MasterKey.plaintext() : store.masterKey;
    if (!key) {
      state.problem = locked(state.sealing);
    } else {
      try {
        state.handle = KeyDictionary.open(state.bytes, key);
        state.keys = state.handle.keys;
      } catch (error) {
        state.problem = explain(error, 'key.dict', state.sealing);
        state.isBroken = true;
      }
    }
    if (inTheClear) key?.free();
  }

  /**
   * Takes a master key as people have it: blanks, quotes and `0x` around it are no part of it. Whether it opens what is open; where it
   * doesn't, the field keeps what was typed.
   */
  async setMasterKey(text: string): Promise<boolean> {
    const { store } = this;
    const digits = text.trim().replace(/^(["'`])(.*)\1$/s, '$2').trim().replace(/^0x/i, '');
    store.masterKey?.free();
    store.masterKey = null;
    try {
      store.masterProblem = otherForm(digits);
      if (!store.masterProblem) store.masterKey = MasterKey.fromHex(digits);
    } catch (error) {
      store.masterProblem = explain(error, 'master-key');
    }
    await this.#changeKey(store);
    return store.masterKey !== null && !store.keyDict?.isBroken;
  }

  /** A file that is to hold the key; a longer one isn't a key. */
  async loadMasterKey(file: File): Promise<void> {
    if (file.size <= 4096) return void (await this.setMasterKey(await file.text()));
    this.store.masterProblem = {
      tone: 'bad',
      title: say('This is not a master key file'),
      text: say('A key file holds 64 hexadecimal digits; {name} is {size}. It was not read.', { name: shown(file.name), size: sizeText(file.size) }),
    };
    this.#changed();
  }

  forgetMasterKey(): void {
    const { store } = this;
    store.masterKey?.free();
    store.masterKey = null;
    store.masterProblem = null;
    void this.#changeKey(store);
  }

  /** Opens what another master key opens, and looks at the open file again, in whatever view. */
  async #changeKey(store: Store): Promise<void> {
    this.#openKeyDict(store);
    await this.#during(this.busy, () => this.#list(store));
    const { view } = this;
    const { opened } = store;
    if (!opened || store !== this.store) return;
    const looked = this.open(opened.row, opened);
    this.view = view;
    await looked;
  }

  /** Forgets all of it. */
  clear(): void {
    this.#opening++;
    this.#closings++;
    this.#listings++;
    this.#reading?.abort();
    this.#reading = null;
    for (const store of this.stores) store.free();
    this.stores = [];
    this.store = nothingOpen();
    this.notes = [];
    this.places.clear();
    this.show('overview');
  }

  /** Says which picked file an entry is of, where names don't tell. */
  async bind(entryName: string, picked: Picked): Promise<void> {
    const { store } = this;
    store.bound.set(entryName, picked);
    await this.#during(this.busy, () => this.#list(store));
    await this.open(this.listing.ofName(entryName) ?? null);
  }

  /** Looks into a file. */
  async open(row: Row | null, options: { tiflashName?: string; context?: string } = {}): Promise<void> {
    const opening = ++this.#opening;
    const { store } = this;
    const before = store.opened?.row;
    store.opened?.plain?.free();
    this.view = 'file';
    // The row of before may be out of date: a key may have come.
    const current = row && ((row.entry || !row.picked ? this.listing.ofName(row.name) : this.listing.ofFile(row.picked)) ?? row);
    store.opened = null;
    if (current?.name !== before?.name || current?.picked !== before?.picked) this.offset = 0;
    if (!current) return this.#changed();
    await this.#during(say('Looking into the file…'), async () => {
      const opened = await this.#look(store, current, options.tiflashName ?? '', options.context ?? '');
      if (opening === this.#opening) store.opened = opened;
      else opened.plain?.free();
    });
  }

  async #look(store: Store, row: Row, tiflashName: string, context: string): Promise<Opened> {
    const disk = plainSource(row.picked?.file ?? new Blob());
    const base = { row, disk, plain: null, sealed: null, messages: [] as Explanation[], tiflashName, context };
    if (!row.picked) return { ...base, messages: [notPicked(row)] };
    try {
      if (!row.entry && (await isSealed(disk))) return await this.#lookSealed(store, base, row.picked.file);
      const needsKey = row.entry && row.entry.method !== 'plaintext';
      if (needsKey && !store.keyDict?.handle) return { ...base, messages: [needsKeyDict(store.keyDict)] };
      const plain = needsKey && store.keyDict?.handle ? decryptedSource(row.picked.file, store.keyDict.handle, row.entry, tiflashName) : disk;
      const [onDisk, decrypted] = [await sampleOf(disk), await sampleOf(plain)];
      const method = row.entry?.method ?? null;
      return { ...base, plain, messages: [judge({ name: row.name, method, disk: onDisk, plain: decrypted })] };
    } catch (error) {
      return { ...base, messages: [explain(error, 'file')] };
    }
  }

  async #lookSealed(store: Store, base: Opened, file: File): Promise<Opened> {
    let sealed: Opened['sealed'] = null;
    try {
      sealed = SealedObject.header(await bytesOf(file.slice(0, 2 << 20)));
      if (!store.masterKey) {
        return { ...base, sealed, messages: [{ tone: 'info', title: say('A sealed object: give the master key'), text: say('What it says about itself is below. One of the master keys that it names opens it.') }] };
      }
      const object = await SealedObject.from(file, store.masterKey, { context: contextOf(base.context) });
      const plain = sealedSource(object);
      const checked = sealed.chunkSize === null ? say('Its header is authentic; a stream’s content can’t be checked.') : say('Its header and its last chunk are authentic; each other chunk is checked when it is read.');
      return { ...base, sealed, plain, messages: [{ tone: 'good', title: say('The sealed object is open'), text: checked }] };
    } catch (error) {
      return { ...base, sealed, messages: [explain(error, 'sealed')] };
    }
  }

  /** Puts a message beside what is open. */
  note(explanation: Explanation): void {
    this.notes = [explanation];
    this.#changed();
  }

  dismissNotes(): void {
    this.notes = [];
    this.#changed();
  }

  async #during(what: Said | null, work: () => Promise<void>): Promise<void> {
    this.#running++;
    this.#say(what);
    try {
      await work();
    } catch (error) {
      this.notes = [explain(error, 'file')];
    } finally {
      if (--this.#running === 0) this.busy = null;
      this.#changed();
    }
  }

  #say(what: Said | null): void {
    this.busy = what;
    this.#changed();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** One pair on each line. */
function contextOf(text: string): Record<string, string> {
  const pairs = text.split('\n').filter((line) => line.includes('='));
  return Object.fromEntries(pairs.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

async function bytesOf(blob: Blob): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await blob.arrayBuffer());
}

async function isSealed(disk: Source): Promise<boolean> {
  const start = await disk.read(0, Math.min(8, disk.size));
  return String(start) === '137,83,84,75,13,10,26,10';
}

/** Lets the page do what waits. No timer, for those wait a second each in a tab that nobody looks at. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

function notPicked({ name }: Row): Explanation {
  return {
    tone: 'info',
    title: say('The file itself is not here'),
    text: say('Its entry is known, but no picked file of this store has its name.'),
    next: [say('Pick or drop {name}, or the directory that holds it.', { name: shown(baseName(name)) }), say('If it was renamed when it was copied, choose it among the picked files below.')],
  };
}

function needsKeyDict(state: KeyDictState | null): Explanation {
  if (state?.problem) return state.problem;
  return { tone: 'info', title: say('key.dict is needed to decrypt this file'), text: say('file.dict says which key it has; the keys are in key.dict.'), next: [say('Drop or pick key.dict of the same directory.')] };
}
