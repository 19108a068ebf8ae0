/** What is open on the page, and everything that can be done to it. Nothing of it is stored, and it all ends with the tab. */
import { type FileDictionary, KeyDictionary, type KeyEntry, MasterKey, SealedObject, type Sealing } from 'stillkey';
import { size as sizeText } from './model/bytes.js';
import { empty, explain, type Explanation, locked, tooLarge } from './model/explain.js';
import { baseName, MOST_FILES, type Picked, roleOf } from './model/intake.js';
import { type Kinds, noKinds } from './model/kinds.js';
import { everything, list, Listing, type Query, type Row } from './model/rows.js';
import { judge } from './model/verdict.js';
import { decryptedSource, plainSource, sampleOf, sealedSource, type Source } from './model/source.js';
import { readFileDict } from './reader.js';
import type { TikvVerdict } from './reader.worker.js';

/**
 * A dictionary is read as a whole, so it may not be any length. Keys stay in the page's own module, so nothing else happens while they are
 * read: this is room for 100,000 keys, and less than a second.
 */
const MOST_FILE_DICT = 128 << 20;
const MOST_KEY_DICT = 4 << 20;

/** Milliseconds after which long work lets the page have its turn. */
const TURN = 20;

export interface KeyDictState {
  readonly path: string;
  readonly bytes: Uint8Array | null;
  readonly sealing: Sealing | null;
  handle: KeyDictionary | null;
  keys: readonly KeyEntry[] | null;
  problem: Explanation | null;
}

export interface FileDictState {
  readonly path: string;
  readonly size: number;
  readonly dictionary: FileDictionary | null;
  readonly kinds: Kinds;
  readonly tikv: TikvVerdict;
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

export class Session {
  view: View = 'overview';
  keyDict: KeyDictState | null = null;
  fileDict: FileDictState | null = null;
  masterKey: MasterKey | null = null;
  masterProblem: Explanation | null = null;
  picked: readonly Picked[] = [];
  notes: readonly Explanation[] = [];
  query: Query = everything;
  opened: Opened | null = null;
  busy = '';
  listing = new Listing();

  #bound = new Map<string, Picked>();
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

  /** Whether anything is open. */
  get hasContent(): boolean {
    return this.keyDict !== null || this.fileDict !== null || this.picked.length > 0;
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
  async #list(): Promise<void> {
    const number = ++this.#listings;
    const keys = this.keyDict?.keys ? new Set(this.keyDict.keys.map(({ id }) => id)) : null;
    let began = performance.now();
    const listing = await list(this.fileDict?.dictionary ?? null, this.fileDict?.kinds ?? noKinds, this.picked, keys, this.#bound, async (done, all) => {
      if (performance.now() - began > TURN) {
        this.#say(`Listing the files, ${Math.floor((100 * done) / all)} %…`);
        await turn();
        began = performance.now();
      }
      return number === this.#listings;
    });
    if (listing) this.listing = listing;
  }

  show(view: View): void {
    this.view = view;
    this.#changed();
  }

  ask(query: Partial<Query>): void {
    this.query = { ...this.query, ...query };
    this.#changed();
  }

  /** Takes in what was picked or dropped: dictionaries replace those that were open, other files add up. */
  async add(files: readonly Picked[]): Promise<void> {
    const notes: Explanation[] = [];
    if (!files.length) notes.push({ tone: 'info', title: 'Nothing was picked', text: 'The directory holds no files, or the browser gave none.' });
    if (files.length >= MOST_FILES) notes.push({ tone: 'warn', title: 'Not all files were taken', text: `The page takes ${MOST_FILES} files at once; drop a smaller directory to see the rest.` });
    const closings = this.#closings;
    await this.#during('Reading…', async () => {
      const keyDict = choose(files, 'key.dict', notes);
      const fileDict = choose(files, 'file.dict', notes);
      if (keyDict) await this.#setKeyDict(keyDict);
      if (fileDict) await this.#setFileDict(fileDict, notes);
      // All of it may have been closed meanwhile.
      if (closings !== this.#closings) return;
      const data = files.filter(({ path }) => roleOf(path) === 'data');
      const known = new Map(this.picked.map((one) => [one.path, one]));
      for (const one of data) known.set(one.path, one);
      this.picked = [...known.values()];
      if (files.length && !keyDict && !fileDict && !this.fileDict && data.length > 1) {
        notes.push({
          tone: 'warn',
          title: 'No dictionary among these files',
          text: `None of the ${files.length} files is called key.dict or file.dict. Single files can be looked at as they are.`,
          next: ['Drop the directory that holds key.dict and file.dict; the store keeps both at the top of its data directory.'],
        });
      }
      this.notes = notes;
      await this.#list();
      const only = data.length === 1 && !keyDict && !fileDict ? data[0] : undefined;
      if (only) await this.open(this.listing.ofFile(only) ?? null);
      else if (this.view === 'file' && this.opened) await this.open(this.listing.ofName(this.opened.row.name) ?? null);
    });
  }

  async #setKeyDict({ path, file }: Picked): Promise<void> {
    this.keyDict?.handle?.free();
    const state: KeyDictState = { path, bytes: null, sealing: null, handle: null, keys: null, problem: null };
    this.keyDict = state;
    if (file.size === 0) state.problem = empty('key.dict');
    else if (file.size > MOST_KEY_DICT) state.problem = tooLarge('key.dict', sizeText(file.size), sizeText(MOST_KEY_DICT));
    else {
      try {
        const bytes = await bytesOf(file);
        this.keyDict = { ...state, bytes, sealing: KeyDictionary.sealing(bytes) };
        this.#openKeyDict();
      } catch (error) {
        state.problem = explain(error, 'key.dict');
      }
    }
  }

  async #setFileDict({ path, file }: Picked, notes: Explanation[]): Promise<void> {
    const fail = (problem: Explanation): FileDictState => ({ path, size: file.size, dictionary: null, kinds: noKinds, tikv: null, problem });
    this.#reading?.abort();
    this.#reading = null;
    let state: FileDictState;
    if (file.size === 0) state = fail(empty('file.dict'));
    else if (file.size > MOST_FILE_DICT) state = fail(tooLarge('file.dict', sizeText(file.size), sizeText(MOST_FILE_DICT)));
    else {
      const reading = new AbortController();
      this.#reading = reading;
      this.#say(`Reading ${baseName(path)}, ${sizeText(file.size)}…`);
      const read = await readFileDict(file, reading.signal).catch((error: unknown) => ({ problem: explain(error, 'file.dict') }));
      // Another one may be read by now.
      if (this.#reading !== reading) return;
      this.#reading = null;
      if (!read) {
        notes.push({ tone: 'info', title: 'Reading was cancelled', text: `Nothing of ${path} was taken, and what was open before still is.` });
        return;
      }
      state = 'problem' in read ? fail(read.problem) : { path, size: file.size, ...read, problem: null };
    }
    this.#bound.clear();
    this.query = everything;
    this.fileDict = state;
  }

  /** With the key at hand, or without one where the dictionary is in the clear. */
  #openKeyDict(): void {
    const state = this.keyDict;
    if (!state?.bytes || !state.sealing) return;
    state.handle?.free();
    state.handle = null;
    state.keys = null;
    state.problem = null;
    const inTheClear = state.sealing.method === 'plaintext';
    const key = inTheClear ? MasterKey.plaintext() : this.masterKey;
    if (!key) {
      state.problem = locked(state.sealing);
    } else {
      try {
        state.handle = KeyDictionary.open(state.bytes, key);
        state.keys = state.handle.keys;
      } catch (error) {
        state.problem = explain(error, 'key.dict');
      }
    }
    if (inTheClear) key?.free();
  }

  /** Takes the text of a key file. Wrong or right, it isn't kept. */
  async setMasterKey(text: string): Promise<void> {
    this.masterKey?.free();
    this.masterKey = null;
    try {
      this.masterKey = MasterKey.fromHex(text);
      this.masterProblem = null;
    } catch (error) {
      this.masterProblem = explain(error, 'master-key');
    }
    await this.#changeKey();
  }

  /** A file that is to hold the key; a longer one isn't a key. */
  async loadMasterKey(file: File): Promise<void> {
    if (file.size <= 1024) return this.setMasterKey(await file.text());
    this.masterProblem = { tone: 'bad', title: 'This is not a master key file', text: `A key file holds 64 hexadecimal digits; ${file.name} is ${sizeText(file.size)}. It was not read.` };
    this.#changed();
  }

  forgetMasterKey(): void {
    this.masterKey?.free();
    this.masterKey = null;
    this.masterProblem = null;
    void this.#changeKey();
  }

  /** Opens what another master key opens, and looks at the open file again, in whatever view. */
  async #changeKey(): Promise<void> {
    this.#openKeyDict();
    await this.#during(this.busy, () => this.#list());
    const { opened, view } = this;
    if (!opened) return;
    const looked = this.open(opened.row, opened);
    this.view = view;
    await looked;
  }

  /** Forgets all of it. */
  clear(): void {
    this.opened?.plain?.free();
    this.#opening++;
    this.#closings++;
    this.#reading?.abort();
    this.#reading = null;
    this.keyDict?.handle?.free();
    this.keyDict = this.fileDict = this.opened = null;
    this.forgetMasterKey();
    this.picked = this.notes = [];
    this.listing = new Listing();
    this.#bound.clear();
    this.query = everything;
    this.show('overview');
  }

  /** Says which picked file an entry is of, where names don't tell. */
  async bind(entryName: string, picked: Picked): Promise<void> {
    this.#bound.set(entryName, picked);
    await this.#during(this.busy, () => this.#list());
    await this.open(this.listing.ofName(entryName) ?? null);
  }

  /** Looks into a file. */
  async open(row: Row | null, options: { tiflashName?: string; context?: string } = {}): Promise<void> {
    const opening = ++this.#opening;
    this.opened?.plain?.free();
    this.view = 'file';
    // The row of before may be out of date: a key may have come.
    const current = row && ((row.entry || !row.picked ? this.listing.ofName(row.name) : this.listing.ofFile(row.picked)) ?? row);
    this.opened = null;
    if (!current) return this.#changed();
    await this.#during('Looking into the file…', async () => {
      const opened = await this.#look(current, options.tiflashName ?? '', options.context ?? '');
      if (opening === this.#opening) this.opened = opened;
      else opened.plain?.free();
    });
  }

  async #look(row: Row, tiflashName: string, context: string): Promise<Opened> {
    const disk = plainSource(row.picked?.file ?? new Blob());
    const base = { row, disk, plain: null, sealed: null, messages: [] as Explanation[], tiflashName, context };
    if (!row.picked) return { ...base, messages: [notPicked(row)] };
    try {
      if (!row.entry && (await isSealed(disk))) return await this.#lookSealed(base, row.picked.file);
      const needsKey = row.entry && row.entry.method !== 'plaintext';
      if (needsKey && !this.keyDict?.handle) return { ...base, messages: [needsKeyDict(this.keyDict)] };
      const plain = needsKey && this.keyDict?.handle ? decryptedSource(row.picked.file, this.keyDict.handle, row.entry, tiflashName) : disk;
      const [onDisk, decrypted] = [await sampleOf(disk), await sampleOf(plain)];
      const method = row.entry?.method ?? null;
      return { ...base, plain, messages: [judge({ name: row.name, method, disk: onDisk, plain: decrypted })] };
    } catch (error) {
      return { ...base, messages: [explain(error, 'file')] };
    }
  }

  async #lookSealed(base: Opened, file: File): Promise<Opened> {
    let sealed: Opened['sealed'] = null;
    try {
      sealed = SealedObject.header(await bytesOf(file.slice(0, 2 << 20)));
      if (!this.masterKey) {
        return { ...base, sealed, messages: [{ tone: 'info', title: 'A sealed object: give the master key', text: 'What it says about itself is below. One of the master keys that it names opens it.' }] };
      }
      const object = await SealedObject.from(file, this.masterKey, { context: contextOf(base.context) });
      const plain = sealedSource(object);
      const checked = sealed.chunkSize === null ? 'Its header is authentic; a stream’s content can’t be checked.' : 'Its header and its last chunk are authentic; each other chunk is checked when it is read.';
      return { ...base, sealed, plain, messages: [{ tone: 'good', title: 'The sealed object is open', text: checked }] };
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

  async #during(what: string, work: () => Promise<void>): Promise<void> {
    this.#running++;
    this.#say(what);
    try {
      await work();
    } catch (error) {
      this.notes = [explain(error, 'file')];
    } finally {
      if (--this.#running === 0) this.busy = '';
      this.#changed();
    }
  }

  #say(what: string): void {
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

/** The dictionary of a kind: the one highest in the tree, where there are several. */
function choose(files: readonly Picked[], role: 'key.dict' | 'file.dict', notes: Explanation[]): Picked | undefined {
  const depth = ({ path }: Picked) => path.split('/').length;
  const exact = ({ path }: Picked) => (baseName(path).toLowerCase() === role ? 0 : 1);
  const candidates = files.filter(({ path }) => roleOf(path) === role).sort((a, b) => depth(a) - depth(b) || exact(a) - exact(b));
  const [chosen, ...others] = candidates;
  if (chosen && others.length) {
    notes.push({
      tone: 'warn',
      title: `Several files are a ${role}`,
      text: `Taken: ${chosen.path}. Left aside: ${others.slice(0, 5).map(({ path }) => path).join(', ')}${others.length > 5 ? `, and ${others.length - 5} more` : ''}.`,
      next: ['Pick the one that you mean alone, or drop its directory.'],
    });
  }
  return chosen;
}

function notPicked({ name }: Row): Explanation {
  return {
    tone: 'info',
    title: 'The file itself is not here',
    text: 'Its entry is known, but no picked file has its name.',
    next: [`Pick or drop ${baseName(name)}, or the directory that holds it.`, 'If it was renamed when it was copied, choose it among the picked files below.'],
  };
}

function needsKeyDict(state: KeyDictState | null): Explanation {
  if (state?.problem) return state.problem;
  return { tone: 'info', title: 'key.dict is needed to decrypt this file', text: 'file.dict says which key it has; the keys are in key.dict.', next: ['Drop or pick key.dict of the same directory.'] };
}
