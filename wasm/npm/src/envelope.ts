/** Envelopes: a payload sealed under a master key, as key dictionaries and log backups have it. */
import { type Bytes, wholeOf } from './arguments.js';
import type * as raw from './bindings.js';
import { guarded, usage } from './errors.js';
import { Handle, rawOf, wrap } from './handle.js';
import { type MasterKey, rawMasterKey, SecretBytes } from './keys.js';
import { wasm } from './module.js';
import type { NewBytes } from './types.js';

/** How an envelope is sealed, as far as it can be told without a key. */
export interface Sealing {
  /** `plaintext`, `aes256-gcm`, or what the envelope says; `null` when it says nothing. */
  readonly method: string | null;
  /** The vendor of the key service that sealed it; `null` for none. */
  readonly vendor: string | null;
  /** Length of the key that the key service wrapped, in bytes; `null` for none. */
  readonly wrappedKeyLength: number | null;
  /** Length of the payload in bytes. */
  readonly payloadLength: number;
}

/** An `encryptionpb.EncryptedContent`: a payload sealed with AES-256-GCM, and its metadata. */
export class Envelope extends Handle {
  private constructor() {
    super();
    throw usage('Envelope: use Envelope.parse() or .seal()');
  }

  /**
   * Reads an envelope that stands alone, as in a log backup's metadata.
   *
   * @throws {@link StillkeyError} `damaged` when the bytes are not such a message.
   */
  static parse(bytes: Bytes): Envelope {
    return guarded(() => wrap(Envelope, wasm().Envelope.parse(wholeOf(bytes, 'envelope'))));
  }

  /** Seals a payload. */
  static seal(payload: Bytes, masterKey: MasterKey): Envelope {
    return guarded(() => wrap(Envelope, wasm().Envelope.seal(wholeOf(payload, 'payload'), rawMasterKey(masterKey))));
  }

  /**
   * Opens it.
   *
   * @throws {@link StillkeyError} `wrong-master-key` for another key or another kind of master key (`other-kind`); `damaged` when its
   * metadata is; `unsupported` for an unknown method.
   */
  open(masterKey: MasterKey): SecretBytes {
    return guarded(() => wrap(SecretBytes, rawOf<raw.Envelope>(this, Envelope).open(rawMasterKey(masterKey))));
  }

  /** How it is sealed. */
  get sealing(): Sealing {
    return guarded(() => sealingOf(rawOf<raw.Envelope>(this, Envelope).sealing()));
  }

  /** Its encoding. */
  toBytes(): NewBytes {
    return guarded(() => rawOf<raw.Envelope>(this, Envelope).to_bytes() as NewBytes);
  }
}

/** @internal Takes it over. */
export function sealingOf(sealing: raw.Sealing): Sealing {
  try {
    return {
      method: sealing.method() ?? null,
      vendor: sealing.vendor() ?? null,
      wrappedKeyLength: sealing.wrapped_key_len() ?? null,
      payloadLength: sealing.payload_len(),
    };
  } finally {
    sealing.free();
  }
}
