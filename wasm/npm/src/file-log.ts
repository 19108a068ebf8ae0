/** Writing a `file.dict`: what to append to it, or to replace it by, and when that counts. */
import { type Bytes, fieldsOf, textOf, u64, unicodeOf, wholeOf } from './arguments.js';
import type * as raw from './bindings.js';
import { guarded, usage } from './errors.js';
import type { FileEntry } from './file-dictionary.js';
import { describe, Handle, hold, rawOf } from './handle.js';
import { methodName } from './method.js';
import { wasm } from './module.js';
import type { NewBytes } from './types.js';

/** One change: an entry that a name gets, in the place of the one that it may have, or a name whose entry goes. */
export type FileChange =
  | { readonly insert: Pick<FileEntry, 'name' | 'keyId' | 'methodNumber' | 'iv'> }
  | { readonly remove: string };

/** What the disk has to do before the changes count. */
export interface FileWrite {
  /** Append the bytes to the file with one write, or replace the whole file by them, atomically. */
  readonly kind: 'append' | 'replace';
  /** The bytes. */
  readonly bytes: NewBytes;
}

/**
 * The writer of a `file.dict`, as a state machine without a disk: {@link write} says what to write, and {@link commit}
 * has the changes count once that is durable. One write at a time.
 *
 * What it writes is version 2, the log; a file of version 1 is replaced by one with the first write. Whoever writes is
 * the only one: TiKV must not run on the same files.
 */
export class FileLog extends Handle {
  /**
   * @param bytes The whole `file.dict`; without it, there is none yet.
   * @throws {@link StillkeyError} `damaged` for a log that isn't whole: what would be appended to it would be lost.
   */
  constructor(bytes: Bytes = new Uint8Array()) {
    super();
    guarded(() => hold(this, new (wasm().FileLog)(wholeOf(bytes, 'file.dict'))));
  }

  /** Number of entries, those of a write that isn't settled included. */
  get size(): number {
    return guarded(() => rawLog(this).len());
  }

  /** Whether a write waits for {@link commit} or {@link discard}. */
  get isPending(): boolean {
    return guarded(() => rawLog(this).is_pending());
  }

  /** Whether so many removals were appended that TiKV would rewrite the file: {@link compact} is due. */
  get isCompactionDue(): boolean {
    return guarded(() => rawLog(this).is_compaction_due());
  }

  /** A name's entry, by what is in a write that isn't settled too. */
  find(name: string): FileEntry | undefined {
    return guarded(() => {
      const entry = rawLog(this).find(unicodeOf(name, 'name'));
      if (!entry) return undefined;
      const view = new DataView(entry.buffer, entry.byteOffset);
      const methodNumber = view.getInt32(8, true);
      const [keyId, iv] = [view.getBigUint64(0, true), entry.slice(12) as NewBytes];
      return { name, keyId, method: methodName(methodNumber), methodNumber, iv };
    });
  }

  /**
   * What to write for `changes`, which are made in their order, all or none.
   *
   * @throws {@link StillkeyError} `usage` while a write is pending, for a removal of a name without an entry
   * (`not-found`), for a name above 65,535 bytes, and for an initialization vector that isn't 16 bytes long; nothing is
   * changed then.
   */
  write(changes: readonly FileChange[]): FileWrite {
    return guarded(() => {
      const log = settled(this);
      if (!Array.isArray(changes)) throw usage(`changes: an array is needed, not ${describe(changes)}`);
      try {
        for (const change of changes) make(log, change);
        return pendingWrite(log);
      } catch (error) {
        log.discard();
        throw error;
      }
    });
  }

  /**
   * What to replace the file by so that it holds no superseded records.
   *
   * @throws {@link StillkeyError} `usage` while a write is pending.
   */
  compact(): FileWrite {
    return guarded(() => {
      const log = settled(this);
      log.compact();
      return pendingWrite(log);
    });
  }

  /**
   * The write is durable: synced, and of a replaced file, its directory too.
   *
   * @throws {@link StillkeyError} `usage` when there is none.
   */
  commit(): void {
    guarded(() => {
      const log = rawLog(this);
      if (!log.is_pending()) throw usage('there is no write to commit: call write() first');
      log.commit();
    });
  }

  /**
   * The write didn't happen, and the file is as it was. Where that isn't certain, as after an append that failed, read
   * the file again instead.
   */
  discard(): void {
    guarded(() => rawLog(this).discard());
  }
}

function rawLog(log: FileLog): raw.FileLog {
  return rawOf(log, FileLog);
}

function settled(log: FileLog): raw.FileLog {
  if (rawLog(log).is_pending()) throw usage('a write is pending: call commit() once it is durable, or discard() if it did not happen');
  return rawLog(log);
}

function make(log: raw.FileLog, change: FileChange): void {
  const fields = fieldsOf(change as object, 'changes', 'a plain object, { insert } or { remove },');
  const [[kind, value] = []] = fields;
  if (fields.size === 1 && kind === 'insert') {
    const entry = fieldsOf(value as object, 'insert', 'an entry');
    const [name, method] = [unicodeOf(entry.get('name') as string, 'insert: name'), entry.get('methodNumber')];
    if (typeof method !== 'number' || !Number.isInteger(method)) {
      throw usage(`insert: methodNumber: a whole number is needed, not ${describe(method)}`);
    }
    return log.insert(name, u64(entry.get('keyId') as bigint, 'insert: keyId'), method, wholeOf(entry.get('iv') as Bytes, 'insert: iv'));
  }
  if (fields.size !== 1 || kind !== 'remove') throw usage('changes: each is { insert: entry } or { remove: name }');
  const name = unicodeOf(textOf(value as string, 'remove'), 'remove');
  if (!log.remove(name)) throw usage(`remove: no entry is named ${JSON.stringify(name)}`, 'not-found');
}

function pendingWrite(log: raw.FileLog): FileWrite {
  const kind = log.replaces() ? 'replace' : 'append';
  return { kind, bytes: log.write() as NewBytes };
}
