/** A file's counter-mode stream: from any byte on, in place at once, or in the background. */
import { type Bytes, copyOf, offsetOf, optionsOf, type Position, unicodeOf, viewOf, wholeOf } from './arguments.js';
import type * as raw from './bindings.js';
import { asStillkeyError, guarded } from './errors.js';
import { Handle, hold, rawOf } from './handle.js';
import { type DataKey, rawDataKey } from './keys.js';
import { Method } from './method.js';
import { wasm, wasmMemory } from './module.js';
import type { NewBytes } from './types.js';

/** Bytes that are copied into the module at once: little enough to stay in the processor's caches. */
const PIECE = 64 << 10;

/** Where WebCrypto begins to be faster: below, handing a job over takes longer than doing it. Measured by `npm run bench`. */
const WEB_CRYPTO_FROM = 32 << 10;

/** What WebCrypto gets at once, in bytes: between two such pieces, an abort is noticed. */
const WEB_CRYPTO_PIECE = 64 << 20;

/** Options of whatever can be aborted. */
export interface AbortOptions {
  /** Ends the work; its reason is what is thrown then. */
  signal?: AbortSignal | undefined;
}

/**
 * A counter-mode stream over one file. Encryption and decryption are the same operation.
 *
 * Positions are bytes from the start of the file, up to 2^64 - 1. Counter mode hides content and nothing else: a changed ciphertext bit
 * changes the same plaintext bit, unnoticed. Two files must never share a key and an initialization vector.
 */
export class CtrStream extends Handle {
  /** For WebCrypto, once it has been needed. */
  #webKey: CryptoKey | undefined;
  #importing: Promise<CryptoKey> | undefined;
  #iv: Uint8Array;
  #forWebCrypto: boolean;

  /**
   * @param key The file's data key; it may be freed afterwards.
   * @param iv The file's initialization vector, 16 bytes.
   * @throws {@link StillkeyError} `usage` when `iv` isn't 16 bytes long.
   */
  constructor(key: DataKey, iv: Bytes) {
    super();
    this.#iv = guarded(() => copyOf(iv, 'iv'));
    guarded(() => hold(this, new (wasm().CtrStream)(rawDataKey(key), this.#iv)));
    this.#forWebCrypto = key.method === Method.Aes128Ctr || key.method === Method.Aes256Ctr;
  }

  /**
   * Encrypts or decrypts `bytes` in place, the first of which stands at byte `offset` of the file.
   *
   * @throws {@link StillkeyError} `usage` when `offset + bytes.length` passes 2^64 - 1; nothing is changed then.
   */
  applyAt(offset: Position, bytes: Bytes): void {
    guarded(() => applyAt(rawOf(this, CtrStream), offset, viewOf(bytes, 'bytes')));
  }

  /**
   * As {@link applyAt}, into a new array, and for long AES-128 and AES-256 data by WebCrypto: several times as fast, and in the background.
   * AES-192 and SM4, which WebCrypto lacks or lacks in places, and short data are done at once. `bytes` are read before this returns: the
   * caller may change them, or give them away, while the work goes on.
   *
   * @throws {@link StillkeyError} as {@link applyAt}; the reason of `signal`.
   */
  async applyAtAsync(offset: Position, bytes: Bytes, options?: AbortOptions): Promise<NewBytes> {
    const { signal } = guarded(() => optionsOf(options, ['signal']));
    signal?.throwIfAborted();
    const source = guarded(() => viewOf(bytes, 'bytes'));
    const start = guarded(() => offsetOf(offset, source.length));
    if (this.#forWebCrypto && source.length >= WEB_CRYPTO_FROM && globalThis.crypto?.subtle) {
      return this.#applyByWebCrypto(start, source, signal);
    }
    const result = guarded(() => copyOf(source, 'bytes'));
    this.applyAt(start, result);
    return result;
  }

  async #applyByWebCrypto(start: bigint, source: Uint8Array, signal: AbortSignal | undefined): Promise<NewBytes> {
    // WebCrypto copies before it returns. What it isn't given now is copied here.
    if (this.#webKey && source.length <= WEB_CRYPTO_PIECE && isForWebCrypto(source)) {
      return this.#piece(this.#webKey, start, source, signal);
    }
    const copy = guarded(() => copyOf(source, 'bytes'));
    const key = this.#webKey ?? (await this.#importKey());
    if (copy.length <= WEB_CRYPTO_PIECE) return this.#piece(key, start, copy, signal);
    for (let at = 0; at < copy.length; at += WEB_CRYPTO_PIECE) {
      const piece = copy.subarray(at, at + WEB_CRYPTO_PIECE);
      piece.set(await this.#piece(key, start + BigInt(at), piece, signal));
    }
    return copy;
  }

  async #piece(key: CryptoKey, start: bigint, source: NewBytes, signal: AbortSignal | undefined): Promise<NewBytes> {
    // WebCrypto starts at blocks only.
    const before = Number(start % 16n);
    let data = source;
    if (before) {
      data = new Uint8Array(before + source.length);
      data.set(source, before);
    }
    counter.set(wasm().counter_at(this.#iv, start - BigInt(before)));
    const result = await crypto.subtle
      .encrypt({ name: 'AES-CTR', counter, length: 128 }, key, data)
      .catch((error: unknown) => {
        throw asStillkeyError(error);
      });
    signal?.throwIfAborted();
    // What stands before is keystream, and no part of the result.
    return before ? new Uint8Array(result.slice(before)) : new Uint8Array(result);
  }

  #importKey(): Promise<CryptoKey> {
    const stream = guarded(() => rawOf<raw.CtrStream>(this, CtrStream));
    this.#importing ??= importKey(stream).then(
      (key) => {
        if (!this.isFreed) this.#webKey = key;
        return key;
      },
      (error: unknown) => {
        this.#importing = undefined;
        throw asStillkeyError(error);
      },
    );
    return this.#importing;
  }

  override free(): void {
    this.#webKey = this.#importing = undefined;
    super.free();
    // What was encrypted or decrypted last may be plaintext.
    scratch?.clear(PIECE);
  }
}

/**
 * The counter block on its way to WebCrypto, which copies it before it returns. A new one each time would have V8 collect its smallest things
 * more often, and the long results with them, whose memory would then come from the system anew: at 1 MiB that cost a fifth of the speed.
 */
const counter = new Uint8Array(16);

/** WebCrypto takes no memory that may change meanwhile. */
function isForWebCrypto(bytes: Uint8Array): bytes is NewBytes {
  const { buffer } = bytes as { buffer: ArrayBufferLike & { resizable?: boolean } };
  return buffer instanceof ArrayBuffer && buffer.resizable !== true;
}

/** WebCrypto copies the bytes before it returns, so that the copy made for it can go at once. */
async function importKey(stream: raw.CtrStream): Promise<CryptoKey> {
  const bytes = stream.danger_key() as NewBytes;
  try {
    return await crypto.subtle.importKey('raw', bytes, 'AES-CTR', false, ['encrypt']);
  } finally {
    bytes.fill(0);
  }
}

let scratch: raw.Scratch | undefined;
let window: Uint8Array | undefined;

/** @internal Encrypts or decrypts in place, piece by piece through a buffer of the module's. */
export function applyAt(stream: raw.CtrStream, offset: Position, bytes: Uint8Array): void {
  let at = offsetOf(offset, bytes.length);
  scratch ??= new (wasm().Scratch)(PIECE);
  for (let from = 0; from < bytes.length; from += PIECE) {
    const { buffer } = wasmMemory();
    // The buffer is another one after the memory has grown.
    if (window?.buffer !== buffer) window = new Uint8Array(buffer, scratch.address(), PIECE);
    const piece = bytes.length <= PIECE ? bytes : bytes.subarray(from, from + PIECE);
    window.set(piece);
    stream.apply_at(at, scratch, piece.length);
    bytes.set(piece.length === PIECE ? window : window.subarray(0, piece.length), from);
    at += BigInt(PIECE);
  }
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
