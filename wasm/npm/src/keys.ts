/** Master keys and data keys: handles to bytes that stay in the module. */
import { type Bytes, textOf, wholeOf } from './arguments.js';
import type * as raw from './bindings.js';
import { guarded, usage } from './errors.js';
import { Handle, rawOf, wrap } from './handle.js';
import type { Method } from './method.js';
import { wasm } from './module.js';
import type { NewBytes } from './types.js';

/** What seals key dictionaries, envelopes and sealed objects: 32 bytes, or {@link MasterKey.plaintext}. */
export class MasterKey extends Handle {
  private constructor() {
    super();
    throw usage('MasterKey: use MasterKey.fromHex(), .fromBytes(), .random() or .plaintext()');
  }

  /**
   * A master key from 32 bytes. They are copied; overwriting the original is up to the caller.
   *
   * @throws {@link StillkeyError} `usage` when there are not 32.
   */
  static fromBytes(bytes: Bytes): MasterKey {
    return guarded(() => {
      const key = wholeOf(bytes, 'master key');
      if (key.length !== 32) throw usage(`a master key has 32 bytes, not ${key.length}; make one with MasterKey.random()`);
      return wrap(MasterKey, wasm().MasterKey.from_bytes(key));
    });
  }

  /**
   * A master key from the text of a TiKV master key file: 64 hexadecimal digits of either case, with white space around them.
   *
   * @throws {@link StillkeyError} `usage` with the reason `typo`: it says which character is wrong, and not what stands there.
   */
  static fromHex(text: string): MasterKey {
    return guarded(() => {
      const digits = new TextEncoder().encode(textOf(text, 'master key'));
      try {
        return wrap(MasterKey, wasm().MasterKey.from_hex(wholeOf(digits, 'master key')));
      } finally {
        digits.fill(0);
      }
    });
  }

  /** A fresh random master key. */
  static random(): MasterKey {
    return guarded(() => wrap(MasterKey, wasm().MasterKey.random()));
  }

  /** The master key that protects nothing: it opens dictionaries that were stored in the clear. */
  static plaintext(): MasterKey {
    return guarded(() => wrap(MasterKey, wasm().MasterKey.plaintext()));
  }

  /** Whether it protects anything: all do but {@link MasterKey.plaintext}. */
  get isSecure(): boolean {
    return guarded(() => rawMasterKey(this).is_secure());
  }

  /** A name for the key that tells nothing about its bytes: 16 hexadecimal digits. `undefined` for {@link MasterKey.plaintext}. */
  get reference(): string | undefined {
    return guarded(() => rawMasterKey(this).reference());
  }

  /** The 32 bytes themselves, in a new array; none for {@link MasterKey.plaintext}. Overwrite them when done. */
  dangerExport(): NewBytes {
    return guarded(() => rawMasterKey(this).danger_export() as NewBytes);
  }
}

/** A key that encrypts data, with its method. */
export class DataKey extends Handle {
  private constructor() {
    super();
    throw usage('DataKey: use DataKey.random() or .fromBytes()');
  }

  /**
   * A data key from its bytes. They are copied; overwriting the original is up to the caller.
   *
   * @throws {@link StillkeyError} `usage` when their number isn't the method's, or for plaintext, which has no key.
   */
  static fromBytes(method: Method, bytes: Bytes): DataKey {
    return guarded(() => wrap(DataKey, wasm().DataKey.from_bytes(textOf(method, 'method'), wholeOf(bytes, 'data key'))));
  }

  /** A fresh random data key for `method`. */
  static random(method: Method): DataKey {
    return guarded(() => wrap(DataKey, wasm().DataKey.random(textOf(method, 'method'))));
  }

  /** The method that it is for. */
  get method(): Method {
    return guarded(() => rawDataKey(this).method() as Method);
  }

  /** The bytes themselves, in a new array. Overwrite them when done. */
  dangerExport(): NewBytes {
    return guarded(() => rawDataKey(this).danger_export() as NewBytes);
  }
}

/** Secret bytes that are no key of this package's, such as what an {@link Envelope} held. */
export class SecretBytes extends Handle {
  private constructor() {
    super();
    throw usage('SecretBytes: they come from Envelope.open()');
  }

  /** Number of bytes. */
  get length(): number {
    return guarded(() => rawOf<raw.Secret>(this, SecretBytes).len());
  }

  /** The bytes themselves, in a new array. Overwrite them when done. */
  dangerExport(): NewBytes {
    return guarded(() => rawOf<raw.Secret>(this, SecretBytes).danger_export() as NewBytes);
  }
}

/** @internal */
export function rawMasterKey(key: MasterKey): raw.MasterKey {
  return rawOf(key, MasterKey);
}

/** @internal */
export function rawDataKey(key: DataKey): raw.DataKey {
  return rawOf(key, DataKey);
}
