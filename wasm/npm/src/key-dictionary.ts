/** The key dictionary: every data key by its id, which one is current, and when the next is due. */
import { type Bytes, optionsOf, type Position, textOf, u64, wholeOf } from './arguments.js';
import type * as raw from './bindings.js';
import { type Sealing, sealingOf } from './envelope.js';
import { guarded, usage } from './errors.js';
import { describe, Handle, hold, rawOf, wrap } from './handle.js';
import { DataKey, type MasterKey, rawDataKey, rawMasterKey } from './keys.js';
import { type Method, methodName, methods } from './method.js';
import { wasm } from './module.js';
import type { NewBytes } from './types.js';

/** What is known about a data key, but not the key. */
export interface KeyEntry {
  /** The id by which file dictionaries name it. */
  readonly id: bigint;
  /** The method that it was made for; `unknown` for a number of the future. */
  readonly method: Method | 'unknown';
  /** The method's number as stored. */
  readonly methodNumber: number;
  /** When it was made, in seconds since 1970-01-01 UTC. */
  readonly creationTime: bigint;
  /** Whether it was ever stored under the plaintext master key. */
  readonly wasExposed: boolean;
  /** Whether it is the key for new files. */
  readonly isCurrent: boolean;
  /** Length of the key in bytes; 0 for a plaintext entry. */
  readonly keyLength: number;
}

/** When data keys are replaced. */
export interface RotationPolicy {
  /** The method of new files. Default: `aes256-ctr`. */
  method?: Method;
  /** The age at which a key is replaced, in seconds. Default: seven days. */
  period?: Position;
}

/** Why a new data key is due. */
export type RotationReason = 'no-current-key' | 'method-changed' | 'exposed' | 'expired' | 'created-in-the-future';

const SEVEN_DAYS = 7 * 24 * 60 * 60;

/** All data keys of a `key.dict`, current and old. */
export class KeyDictionary extends Handle {
  /** A dictionary without keys; {@link rotate} makes the first. */
  constructor() {
    super();
    guarded(() => hold(this, new (wasm().KeyDictionary)()));
  }

  /**
   * Reads the bytes of a `key.dict`.
   *
   * @throws {@link StillkeyError} `wrong-master-key` when another key sealed it, or a key service did (`other-kind`); `damaged`;
   * `unsupported`.
   */
  static open(bytes: Bytes, masterKey: MasterKey): KeyDictionary {
    return guarded(() =>
      wrap(KeyDictionary, wasm().KeyDictionary.open(wholeOf(bytes, 'key.dict'), rawMasterKey(masterKey))),
    );
  }

  /**
   * How a `key.dict` is sealed, which can be told without a key.
   *
   * @throws {@link StillkeyError} `damaged` or `unsupported`.
   */
  static sealing(bytes: Bytes): Sealing {
    return guarded(() => sealingOf(wasm().KeyDictionary.sealing(wholeOf(bytes, 'key.dict'))));
  }

  /** The bytes of a `key.dict`. Under {@link MasterKey.plaintext}, every key is first marked as exposed, for good. */
  seal(masterKey: MasterKey): NewBytes {
    return guarded(() => rawOf<raw.KeyDictionary>(this, KeyDictionary).seal(rawMasterKey(masterKey)) as NewBytes);
  }

  /** What is known about each key, by ascending id. */
  get keys(): KeyEntry[] {
    return guarded(() => {
      const dictionary = rawOf<raw.KeyDictionary>(this, KeyDictionary);
      const [numbers, times] = [dictionary.methods(), dictionary.creation_times()];
      const [exposed, lengths] = [dictionary.exposed(), dictionary.key_lens()];
      const current = dictionary.current_key_id();
      return Array.from(dictionary.ids(), (id, row) => ({
        id,
        method: methodName(numbers[row] ?? 0),
        methodNumber: numbers[row] ?? 0,
        creationTime: times[row] ?? 0n,
        wasExposed: exposed[row] === 1,
        isCurrent: current !== 0n && id === current,
        keyLength: lengths[row] ?? 0,
      }));
    });
  }

  /** The id of the key for new files; 0 when there is none yet. */
  get currentKeyId(): bigint {
    return guarded(() => rawOf<raw.KeyDictionary>(this, KeyDictionary).current_key_id());
  }

  /**
   * The key to decrypt a file with. The file's method counts, not the one that the key was made for; `null` for a plaintext file,
   * whose key isn't looked up.
   *
   * @param method The file's method: a name, or the number stored in its entry.
   * @throws {@link StillkeyError} `usage` when there is no such key (`not-found`) or it doesn't fit the method; `unsupported` for a method
   * of the future.
   */
  dataKey(id: Position, method: Method | number): DataKey | null {
    return guarded(() => {
      const key = rawOf<raw.KeyDictionary>(this, KeyDictionary).data_key(u64(id, 'id'), methodNumber(method));
      return key ? wrap(DataKey, key) : null;
    });
  }

  /**
   * Why new files need another data key, or `null` while they don't: a pure function of what is given.
   *
   * @param masterKeyIsSecure {@link MasterKey.isSecure} of the key that the dictionary will be saved under.
   * @param now Seconds since 1970-01-01 UTC.
   * @throws {@link StillkeyError} `usage` when the dictionary names a current key that it doesn't hold (`not-found`).
   */
  rotationDue(policy: RotationPolicy, masterKeyIsSecure: boolean, now: Position): RotationReason | null {
    return guarded(() => {
      const { method = 'aes256-ctr', period = SEVEN_DAYS } = optionsOf(policy, ['method', 'period']);
      if (typeof masterKeyIsSecure !== 'boolean') throw usage(`masterKeyIsSecure: true or false is needed, not ${describe(masterKeyIsSecure)}`);
      const due = rawOf<raw.KeyDictionary>(this, KeyDictionary).rotation_due(textOf(method, 'method'), u64(period, 'period'), masterKeyIsSecure, u64(now, 'now'));
      return (due as RotationReason | undefined) ?? null;
    });
  }

  /**
   * Adds a data key that was made elsewhere and returns its id; a key that is there already keeps the id that it has. The
   * current key stays current.
   *
   * @param now When the key was made, in seconds since 1970-01-01 UTC.
   */
  importKey(key: DataKey, now: Position): bigint {
    return guarded(() => rawOf<raw.KeyDictionary>(this, KeyDictionary).import(rawDataKey(key), u64(now, 'now')));
  }

  /** Makes a new random data key, makes it current and returns its id. `now`: seconds since 1970-01-01 UTC. */
  rotate(method: Method, now: Position): bigint {
    return guarded(() => rawOf<raw.KeyDictionary>(this, KeyDictionary).rotate(textOf(method, 'method'), u64(now, 'now')));
  }
}

function methodNumber(method: Method | number): number {
  if (typeof method === 'number' && Number.isInteger(method)) return method;
  const facts = methods.find(({ name }) => name === method);
  if (!facts) throw usage(`no encryption method ${JSON.stringify(method)}; use one of ${methods.map(({ name }) => name).join(', ')}`);
  return facts.number;
}
