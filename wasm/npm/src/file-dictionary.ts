/** The file dictionary: which data key, initialization vector and method each file has, and the log that says so. */
import { type Bytes, optionsOf, textOf, viewOf, wholeOf } from './arguments.js';
import type * as raw from './bindings.js';
import { guarded, usage } from './errors.js';
import { type Method, methodName } from './method.js';
import { wasm } from './module.js';
import type { NewBytes } from './types.js';

/** How one file is encrypted. */
export interface FileEntry {
  /** The file's name. */
  readonly name: string;
  /** The id of its data key. */
  readonly keyId: bigint;
  /** Its method; `unknown` for a number of the future. */
  readonly method: Method | 'unknown';
  /** The method's number as stored. */
  readonly methodNumber: number;
  /** Its initialization vector as stored: 16 bytes, or none for plaintext. Any other length is a mistake of whoever wrote it. */
  readonly iv: Uint8Array;
}

/** One record of the log: a file was added, or changed, or removed. */
export interface LogRecord {
  /** Where it starts: bytes from the start of the file. */
  readonly offset: number;
  /** Its length in bytes. */
  readonly length: number;
  /** Its CRC-32, which fits. */
  readonly checksum: number;
  /** What it does. */
  readonly kind: 'insert' | 'remove';
  /** The file's name. */
  readonly name: string;
  /** The entry that it sets; `null` for a removal. */
  readonly entry: FileEntry | null;
}

/** How a log ends. Places are bytes from the start of the file. */
export type Verdict =
  /** With its last record. */
  | { readonly state: 'complete' }
  /**
   * With a last record that isn't whole, as an append that was interrupted leaves it. What stands before `at` is whole; `dropped` bytes
   * of the record follow. `cut-off`: they are fewer than the record has. `checksum`: all of them are there, and its checksum doesn't fit;
   * whether that append was acknowledged can't be told from the file.
   */
  | { readonly state: 'torn-tail'; readonly at: number; readonly dropped: number; readonly finding: 'cut-off' | 'checksum' }
  /** With a damaged record, which starts at `at`. Records after it can't be trusted. */
  | { readonly state: 'corrupt'; readonly at: number; readonly why: string; readonly finding: LogFinding };

/** What is wrong with a damaged record. */
export type LogFinding =
  /** Its checksum doesn't fit, and more follows. */
  | 'checksum'
  /** Its lengths reach past the end of the file, or its checksum fails at the very end, and a whole record lies behind its start. */
  | 'intact-record-inside'
  /** As before, with so much that looks like records that not all of it was tried. */
  | 'torn-or-damaged'
  /** Its type byte is 0: space that was never written. */
  | 'record-type-0'
  /** Its type byte is neither insert nor remove. */
  | 'record-type'
  /** It is an insert without file information, or a remove with some. */
  | 'type-mismatch'
  /** It removes a name that has no entry. */
  | 'remove-of-absent'
  /** Its file information can't be decoded. */
  | 'protobuf'
  /** Its name is not UTF-8. */
  | 'name-not-utf8'
  | 'other';

/** A part of a `file.dict` that nothing can be read from. */
export interface LostPart {
  /** Where it starts: bytes from the start of the file. */
  readonly offset: number;
  /** Its length in bytes. */
  readonly length: number;
  /** The file's name, where it can be made out; else `null`. */
  readonly name: string | null;
}

/** What remains of a damaged `file.dict`. */
export interface Salvage {
  /** Every record whose checksum fits, and the entries that they make. */
  readonly dictionary: FileDictionary;
  /** What is lost, in the order of the file. Empty for a file that is whole. */
  readonly lost: readonly LostPart[];
  /** The bytes of a `file.dict` with these entries. */
  readonly bytes: NewBytes;
}

/** Options of {@link FileDictionary.parse}. */
export interface ParseOptions {
  /**
   * `strict`, the default, reports damage that can be told from a torn append. `tikv` reads exactly as TiKV does: a record that reaches
   * past the end is a torn tail whatever its cause.
   */
  reading?: 'strict' | 'tikv';
}

/** A `file.dict` as read. It holds no secret, and nothing of it stays in the module: there is nothing to free. */
export class FileDictionary {
  /** The form of the file: 1, one envelope that is rewritten on every change, or 2, with a log. */
  readonly version: 1 | 2;

  /** Number of entries. */
  readonly entryCount: number;

  /** Number of valid records in the log; 0 in version 1. */
  readonly recordCount: number;

  /** How the log ends; `complete` in version 1. */
  readonly verdict: Verdict;

  readonly #columns: Columns;
  #entries: FileEntry[] | undefined;
  #records: LogRecord[] | undefined;

  private constructor(columns: Columns) {
    if (!columns) throw usage('FileDictionary: use FileDictionary.parse() or .fromMessage()');
    this.#columns = columns;
    this.version = columns.version;
    this.verdict = columns.verdict;
    this.entryCount = columns.entries.keyIds.length;
    this.recordCount = columns.records.keyIds.length;
  }

  /**
   * Reads the bytes of a `file.dict` and says exactly where and how its log ends. Damage in the log is a {@link verdict}, not an error,
   * so that one sees what a damaged dictionary still holds.
   *
   * @throws {@link StillkeyError} `damaged` or `unsupported` when its header or content can't be read.
   */
  static parse(bytes: Bytes, options?: ParseOptions): FileDictionary {
    return guarded(() => {
      const { reading = 'strict' } = optionsOf(options, ['reading']);
      if (reading !== 'strict' && reading !== 'tikv') throw usage("reading: use 'strict' or 'tikv'");
      const dictionary = wasm().FileDictionary.parse(wholeOf(bytes, 'file.dict'), reading === 'tikv');
      try {
        return new FileDictionary(columnsOf(dictionary));
      } finally {
        dictionary.free();
      }
    });
  }

  /**
   * Reads what remains of a damaged `file.dict`: every record whose checksum fits, behind any damage. A record that is lost may have
   * changed or removed an entry that an earlier one made, so an entry that remains may be out of date, and one that was removed may be
   * back.
   */
  static salvage(bytes: Bytes): Salvage {
    return guarded(() => {
      const salvaged = new (wasm().Salvaged)(wholeOf(bytes, 'file.dict'));
      let dictionary: raw.FileDictionary | undefined;
      try {
        dictionary = salvaged.dictionary();
        const [lengths, names] = [salvaged.lost_len(), salvaged.lost_names()];
        return {
          dictionary: new FileDictionary(columnsOf(dictionary)),
          lost: Array.from(salvaged.lost_at(), (offset, row) => ({ offset, length: lengths[row] ?? 0, name: names[row] || null })),
          bytes: salvaged.bytes() as NewBytes,
        };
      } finally {
        dictionary?.free();
        salvaged.free();
      }
    });
  }

  /** The columns, as long as they are here. */
  get #live(): Columns {
    const { entries, records } = this.#columns;
    if (entries.keyIds.length === this.entryCount && records.keyIds.length === this.recordCount) return this.#columns;
    throw usage('this FileDictionary was handed over by toMessage(); use the one that fromMessage() makes of it', 'freed');
  }

  /**
   * What `postMessage` takes: `worker.postMessage(...dictionary.toMessage())` hands the dictionary over to another thread, which makes one
   * of it again by {@link FileDictionary.fromMessage}. Its columns move there and are not copied, so this one has nothing left.
   */
  toMessage(): [message: unknown, transfer: ArrayBuffer[]] {
    const { entries, records } = this.#live;
    const columns = [entries, records].flatMap((columns): unknown[] => Object.values(columns));
    return [this.#live, columns.filter(ArrayBuffer.isView).map(({ buffer }) => buffer as ArrayBuffer)];
  }

  /**
   * A dictionary that another thread has sent; of the same version of this package, for what messages hold is no format. It takes the
   * message over.
   *
   * @throws {@link StillkeyError} `usage` when the message is none of {@link FileDictionary.toMessage}.
   */
  static fromMessage(message: unknown): FileDictionary {
    return guarded(() => new FileDictionary(received(message)));
  }

  /** The entries, sorted by the bytes of their names. */
  get entries(): readonly FileEntry[] {
    const { entries } = this.#live;
    this.#entries ??= Array.from(entries.keyIds, (_, row) => entryOf(entries, row));
    return this.#entries;
  }

  /** The valid records of the log, in their order. */
  get records(): readonly LogRecord[] {
    const { records } = this.#live;
    this.#records ??= Array.from(records.keyIds, (_, row) => recordOf(records, row));
    return this.#records;
  }

  /** What stands at a place of {@link entries}, without making all of them; `undefined` where nothing does. */
  entryAt(index: number): FileEntry | undefined {
    return rowAt(this.#live.entries, index, entryOf);
  }

  /** What stands at a place of {@link records}, without making all of them; `undefined` where nothing does. */
  recordAt(index: number): LogRecord | undefined {
    return rowAt(this.#live.records, index, recordOf);
  }

  /** The name at a place of {@link entries}, for tables so long that an entry for each row is too much; `undefined` where nothing stands. */
  nameAt(index: number): string | undefined {
    return rowAt(this.#live.entries, index, nameOf);
  }

  /** The id of the data key at a place of {@link entries}, as {@link nameAt}. */
  keyIdAt(index: number): bigint | undefined {
    return rowAt(this.#live.entries, index, ({ keyIds }, row) => keyIds[row]);
  }

  /** The method's number at a place of {@link entries}, as {@link nameAt}. */
  methodNumberAt(index: number): number | undefined {
    return rowAt(this.#live.entries, index, ({ methods }, row) => methods[row]);
  }

  /**
   * Where a file's entry stands in {@link entries}; -1 where it has none. Found by halves, so that nothing has to be made for it.
   *
   * @throws {@link StillkeyError} `usage` when `name` is no string.
   */
  indexOf(name: string): number {
    const entries = this.#live.entries;
    const wanted = guarded(() => new TextEncoder().encode(textOf(name, 'name')));
    let [from, to] = [0, this.entryCount];
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (compare(nameBytesOf(entries, middle), wanted) < 0) from = middle + 1;
      else to = middle;
    }
    // What isn't Unicode was encoded as something else.
    return this.nameAt(from) === name ? from : -1;
  }

  /**
   * A file's entry, if it has one. TiKV takes a file without an entry for plaintext; whether to do so is up to the caller.
   *
   * @throws {@link StillkeyError} `usage` when `name` is no string.
   */
  find(name: string): FileEntry | undefined {
    return this.entryAt(this.indexOf(name));
  }

  /**
   * A file's entry.
   *
   * @throws {@link StillkeyError} `usage` when there is none (`not-found`) or `name` is no string.
   */
  get(name: string): FileEntry {
    const entry = this.find(name);
    if (!entry) throw usage(`no entry ${JSON.stringify(name)} in the file dictionary`, 'not-found');
    return entry;
  }
}

/** Names and what is known about their files, row by row. */
interface InfoColumns {
  /** In UTF-8: bytes move to another thread, strings would be copied there. */
  names: Uint8Array;
  nameEnds: Uint32Array;
  keyIds: BigUint64Array;
  methods: Int32Array;
  ivs: Uint8Array;
  ivEnds: Uint32Array;
}

interface RecordColumns extends InfoColumns {
  offsets: Float64Array;
  lengths: Uint32Array;
  checksums: Uint32Array;
  isInsert: Uint8Array;
}

interface Columns {
  version: 1 | 2;
  verdict: Verdict;
  entries: InfoColumns;
  records: RecordColumns;
}

function columnsOf(dictionary: raw.FileDictionary): Columns {
  return {
    version: dictionary.version() as 1 | 2,
    verdict: verdictOf(dictionary),
    entries: infosOf(dictionary.take_entries()),
    records: {
      ...infosOf(dictionary.take_records()),
      offsets: dictionary.take_record_at(),
      lengths: dictionary.take_record_len(),
      checksums: dictionary.take_record_checksum(),
      isInsert: dictionary.take_record_is_insert(),
    },
  };
}

function infosOf(infos: raw.Infos): InfoColumns {
  try {
    return {
      names: infos.take_names(),
      nameEnds: infos.take_name_ends(),
      keyIds: infos.take_key_ids(),
      methods: infos.take_methods(),
      ivs: infos.take_ivs(),
      ivEnds: infos.take_iv_ends(),
    };
  } finally {
    infos.free();
  }
}

/** The columns that have as many rows as there are entries or records. */
const infoTypes = { nameEnds: Uint32Array, keyIds: BigUint64Array, methods: Int32Array, ivEnds: Uint32Array };
const recordTypes = { ...infoTypes, offsets: Float64Array, lengths: Uint32Array, checksums: Uint32Array, isInsert: Uint8Array };

function received(message: unknown): Columns {
  const { version, verdict, entries, records } = (message ?? {}) as Columns;
  const isWhole = (version === 1 || version === 2) && typeof verdict?.state === 'string' && hasColumns(entries, infoTypes) && hasColumns(records, recordTypes);
  if (!isWhole) throw usage('message: not one that FileDictionary.toMessage() made');
  return { version, verdict, entries, records };
}

function hasColumns(columns: InfoColumns | undefined, types: typeof infoTypes): boolean {
  const rows = columns?.keyIds?.length;
  if (!(columns?.names instanceof Uint8Array && columns.ivs instanceof Uint8Array)) return false;
  // Bytes that have moved on once more are an error of their own.
  for (const name of ['names', 'ivs'] as const) viewOf(columns[name], `message: ${name}`);
  return Object.entries(types).every(([name, type]) => {
    const column = columns[name as keyof typeof infoTypes];
    return column instanceof type && column.length === rows;
  });
}

function entryOf(columns: InfoColumns, row: number): FileEntry {
  const methodNumber = columns.methods[row] ?? 0;
  return {
    name: nameOf(columns, row),
    keyId: columns.keyIds[row] ?? 0n,
    method: methodName(methodNumber),
    methodNumber,
    // A copy: the column is the dictionary's, and goes when the dictionary is handed over.
    iv: new Uint8Array(columns.ivs.subarray(columns.ivEnds[row - 1] ?? 0, columns.ivEnds[row])),
  };
}

/** What `read` reads of a row; `undefined` where there is none. */
function rowAt<C extends InfoColumns, R>(columns: C, index: number, read: (columns: C, row: number) => R): R | undefined {
  return Number.isInteger(index) && index >= 0 && index < columns.keyIds.length ? read(columns, index) : undefined;
}

/** So many names are decoded at once, for a call to decode one takes as long as decoding some. */
const NAMES_AT_ONCE = 256;
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const decoded = new WeakMap<InfoColumns, { readonly first: number; readonly text: string }>();

function startOf({ nameEnds }: InfoColumns, row: number): number {
  return nameEnds[row - 1] ?? 0;
}

function nameBytesOf(columns: InfoColumns, row: number): Uint8Array {
  return columns.names.subarray(startOf(columns, row), columns.nameEnds[row]);
}

function nameOf(columns: InfoColumns, row: number): string {
  const { names, nameEnds } = columns;
  const first = row - (row % NAMES_AT_ONCE);
  const [from, to] = [startOf(columns, first), startOf(columns, Math.min(first + NAMES_AT_ONCE, nameEnds.length))];
  let block = decoded.get(columns);
  if (block?.first !== first) {
    block = { first, text: utf8.decode(names.subarray(from, to)) };
    decoded.set(columns, block);
  }
  // A character of more than one byte moves what follows it.
  const isAscii = block.text.length === to - from;
  return isAscii ? block.text.slice(startOf(columns, row) - from, startOf(columns, row + 1) - from) : utf8.decode(nameBytesOf(columns, row));
}

/** The order of the dictionary: byte by byte, and a beginning comes before what goes on. */
function compare(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < a.length && at < b.length; at++) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference) return difference;
  }
  return a.length - b.length;
}

function recordOf(columns: RecordColumns, row: number): LogRecord {
  const isInsert = columns.isInsert[row] === 1;
  return {
    offset: columns.offsets[row] ?? 0,
    length: columns.lengths[row] ?? 0,
    checksum: columns.checksums[row] ?? 0,
    kind: isInsert ? 'insert' : 'remove',
    name: nameOf(columns, row),
    entry: isInsert ? entryOf(columns, row) : null,
  };
}

function verdictOf(dictionary: raw.FileDictionary): Verdict {
  const [state, at] = [dictionary.verdict(), dictionary.verdict_at()];
  const finding = dictionary.verdict_finding();
  if (state === 'torn-tail') return { state, at, dropped: dictionary.verdict_dropped(), finding: finding as 'cut-off' | 'checksum' };
  if (state === 'corrupt') return { state, at, why: dictionary.verdict_why(), finding: finding as LogFinding };
  return { state: 'complete' };
}
