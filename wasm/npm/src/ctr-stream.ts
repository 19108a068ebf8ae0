/** A file's counter-mode stream: from any byte on, in place at once, or in the background. */
import { type Bytes, copyOf, offsetOf, optionsOf, type Position, unicodeOf, viewOf, wholeOf } from './arguments.js';
import { BackgroundCtr, type BackgroundOptions } from './background.js';
import { guarded } from './errors.js';
import { Handle, hold, rawOf } from './handle.js';
import { type DataKey, rawDataKey } from './keys.js';
import { wasm } from './module.js';
import { clearScratch } from './scratch.js';
import type { NewBytes } from './types.js';

/**
 * A counter-mode stream over one file. Encryption and decryption are the same operation.
 *
 * Positions are bytes from the start of the file, up to 2^64 - 1. Counter mode hides content and nothing else: a changed ciphertext bit
 * changes the same plaintext bit, unnoticed. Two files must never share a key and an initialization vector.
 */
export class CtrStream extends Handle {
  /**
   * @param key The file's data key; it may be freed afterwards.
   * @param iv The file's initialization vector, 16 bytes.
   * @throws {@link StillkeyError} `usage` when `iv` isn't 16 bytes long.
   */
  constructor(key: DataKey, iv: Bytes) {
    super();
    guarded(() => {
      const copy = copyOf(iv, 'iv');
      hold(this, new BackgroundCtr(new (wasm().CtrStream)(rawDataKey(key), copy), key.method, copy));
    });
  }

  /**
   * Encrypts or decrypts `bytes` in place, the first of which stands at byte `offset` of the file.
   *
   * @throws {@link StillkeyError} `usage` when `offset + bytes.length` passes 2^64 - 1; nothing is changed then.
   */
  applyAt(offset: Position, bytes: Bytes): void {
    guarded(() => {
      const [cipher, view] = [cipherOf(this), viewOf(bytes, 'bytes')];
      cipher.applyNow(offsetOf(offset, view.length), view);
    });
  }

  /**
   * As {@link applyAt}, into a new array, and for long AES-128 and AES-256 data by WebCrypto: several times as fast, and in the background.
   * AES-192 and SM4, which WebCrypto lacks or lacks in places, are done at once, or with `worker: true` in a worker;
   * short data is done at once. `bytes` are read before this returns: the caller may change them, or give them away,
   * while the work goes on.
   *
   * @throws {@link StillkeyError} as {@link applyAt}; the reason of `signal`.
   */
  async applyAtAsync(offset: Position, bytes: Bytes, options?: BackgroundOptions): Promise<NewBytes> {
    const given = guarded(() => optionsOf(options, ['signal', 'worker']));
    given.signal?.throwIfAborted();
    const source = guarded(() => viewOf(bytes, 'bytes'));
    const start = guarded(() => offsetOf(offset, source.length));
    return guarded(() => cipherOf(this)).apply(start, source, given);
  }

  override free(): void {
    super.free();
    clearScratch();
  }
}

/** @internal */
export function cipherOf(stream: CtrStream): BackgroundCtr {
  return rawOf(stream, CtrStream);
}

/**
 * The initialization vector of one file in a TiFlash group: the group's, XORed with the MD5 of `fileName`, or the group's own where
 * `fileName` is empty.
 *
 * @throws {@link StillkeyError} `usage` when `iv` isn't 16 bytes long.
 */
export function ivForTiflashFile(iv: Bytes, fileName: string): NewBytes {
  return guarded(
    () => wasm().iv_for_tiflash_file(wholeOf(iv, 'iv'), unicodeOf(fileName, 'fileName')) as NewBytes,
  );
}
