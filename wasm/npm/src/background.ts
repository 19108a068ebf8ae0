/** Ciphers in the background: by WebCrypto, which has AES-128 and AES-256, or in a worker, where the caller asks for one. */
import { copyOf, release } from './arguments.js';
import type * as raw from './bindings.js';
import { asStillkeyError, guarded } from './errors.js';
import { applyAt } from './scratch.js';
import { wasm } from './module.js';
import type { NewBytes } from './types.js';
import { inWorker } from './workers.js';

/** Options of whatever can be aborted. */
export interface AbortOptions {
  /** Ends the work; its reason is what is thrown then. */
  signal?: AbortSignal | undefined;
}

/** Options of what can work in the background. */
export interface BackgroundOptions extends AbortOptions {
  /**
   * `true` has a worker do what WebCrypto can't, which is SM4 and AES-192, so that the calling thread stays free. One
   * worker serves the whole program and starts with the first use. Default: `false`.
   */
  worker?: boolean | undefined;
}

/** Where the background begins to be faster, in bytes: below, handing a job over takes longer than doing it. */
const BACKGROUND_FROM = 32 << 10;

/** What WebCrypto gets at once, in bytes: between two such pieces, an abort is noticed. */
const WEB_CRYPTO_PIECE = 64 << 20;

/** What the worker gets at once, in bytes. */
const WORKER_PIECE = 1 << 20;

/** Bytes that are worked on at the same time, at most; but always two pieces. */
const IN_FLIGHT = 4 << 20;

/** @internal Counter mode over one stream, which it takes over, with the method's name and the initialization vector. */
export class BackgroundCtr {
  readonly #stream: raw.CtrStream;
  readonly #method: string;
  readonly #iv: Uint8Array;
  readonly #key: WebKey | undefined;

  constructor(stream: raw.CtrStream, method: string, iv: Uint8Array) {
    this.#stream = stream;
    this.#method = method;
    this.#iv = iv;
    if (method !== 'aes128-ctr' && method !== 'aes256-ctr') return;
    this.#key = new WebKey('AES-CTR', () => stream.danger_key() as NewBytes);
  }

  /** Whether long data is worked on elsewhere. */
  isBackground(worker: boolean | undefined): boolean {
    return Boolean(worker || (this.#key && hasWebCrypto()));
  }

  /** In place, at once. */
  applyNow(start: bigint, bytes: Uint8Array): void {
    applyAt(this.#stream, start, bytes);
  }

  /** In a new array. `source` is read before this returns. */
  async apply(start: bigint, source: Uint8Array, { signal, worker }: BackgroundOptions): Promise<NewBytes> {
    if (source.length >= BACKGROUND_FROM) {
      if (this.#key && hasWebCrypto()) return this.#byWebCrypto(this.#key, start, source, signal);
      if (worker) return this.#byWorker(start, guarded(() => copyOf(source, 'bytes')), signal);
    }
    const result = guarded(() => copyOf(source, 'bytes'));
    guarded(() => this.applyNow(start, result));
    return result;
  }

  async #byWorker(start: bigint, bytes: NewBytes, signal: AbortSignal | undefined): Promise<NewBytes> {
    const one = (at: number, piece: NewBytes) => {
      const key = this.#stream.danger_key() as NewBytes;
      const job = { kind: 'ctr', method: this.#method, key, iv: this.#iv.slice() as NewBytes, offset: start + BigInt(at), bytes: piece } as const;
      return inWorker(job, signal) as Promise<NewBytes>;
    };
    if (bytes.length <= WORKER_PIECE) return one(0, bytes);
    let at = 0;
    const results = new InOrder(WORKER_PIECE, (piece) => {
      bytes.set(piece, at);
      at += piece.length;
      release(piece);
    });
    for (let from = 0; from < bytes.length; from += WORKER_PIECE) {
      // The worker takes it over, and what comes back has a place.
      await results.add(guarded(() => one(from, bytes.slice(from, from + WORKER_PIECE))));
    }
    await results.end();
    return bytes;
  }

  async #byWebCrypto(webKey: WebKey, start: bigint, source: Uint8Array, signal: AbortSignal | undefined): Promise<NewBytes> {
    // WebCrypto copies before it returns. What it isn't given now is copied here.
    if (webKey.now && source.length <= WEB_CRYPTO_PIECE && isForWebCrypto(source)) {
      return this.#piece(webKey.now, start, source, signal);
    }
    const copy = guarded(() => copyOf(source, 'bytes'));
    const key = webKey.now ?? (await webKey.imported());
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

  free(): void {
    this.#key?.forget();
    this.#stream.free();
  }
}

/** @internal Authenticated chunks of one body, which stays the caller's, with its suite's name. */
export class BackgroundChunks {
  readonly #body: raw.Body;
  readonly #suite: string;
  readonly #nonce: NewBytes;
  readonly #key: WebKey | undefined;

  constructor(body: raw.Body, suite: string) {
    this.#body = body;
    this.#suite = suite;
    this.#nonce = new Uint8Array(12);
    this.#nonce.set(body.iv().subarray(0, 7));
    if (suite === 'aes256-gcm') this.#key = new WebKey('AES-GCM', () => body.danger_key() as NewBytes);
  }

  /** Whether chunks are worked on elsewhere. */
  isBackground(worker: boolean | undefined): boolean {
    return Boolean(worker || (this.#key && hasWebCrypto()));
  }

  /** To be awaited before chunks are handed over. */
  async ready(): Promise<void> {
    if (this.#key && !this.#key.now && hasWebCrypto()) await this.#key.imported();
  }

  /** Seals a chunk. `plaintext` is read before this returns, or given away. */
  async seal(number: number, last: boolean, plaintext: NewBytes, { signal, worker }: BackgroundOptions): Promise<NewBytes> {
    const nonce = this.#nonceOf(number, last);
    if (nonce && this.#key?.now) {
      const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv: nonce }, this.#key.now, plaintext).catch((error: unknown) => {
        throw asStillkeyError(error);
      });
      signal?.throwIfAborted();
      return new Uint8Array(sealed);
    }
    if (nonce && worker) {
      const job = { kind: 'seal', suite: this.#suite, key: this.#body.danger_key() as NewBytes, nonce: nonce.slice(), bytes: plaintext } as const;
      return (await inWorker(job, signal)) as NewBytes;
    }
    return guarded(() => this.sealNow(number, last, plaintext));
  }

  /** Opens a chunk, which nobody may change before that is done. */
  async open(number: number, last: boolean, sealed: NewBytes, { signal, worker }: BackgroundOptions): Promise<NewBytes> {
    const nonce = this.#nonceOf(number, last);
    // Too short for a tag, or an empty chunk behind others: the module says what that means.
    const isFit = nonce && sealed.length >= (number ? 17 : 16);
    if (isFit && this.#key?.now) {
      const opened = await crypto.subtle.decrypt({ name: 'AES-GCM', iv: nonce }, this.#key.now, sealed).catch(() => undefined);
      signal?.throwIfAborted();
      if (opened) return new Uint8Array(opened);
    } else if (isFit && worker) {
      const job = { kind: 'open', suite: this.#suite, key: this.#body.danger_key() as NewBytes, nonce: nonce.slice(), bytes: sealed.slice() } as const;
      const opened = await inWorker(job, signal);
      if (opened) return opened;
    }
    // What doesn't open is tried again by the module, which finds out what is wrong with it.
    return guarded(() => this.openNow(number, last, sealed));
  }

  sealNow(number: number, last: boolean, plaintext: Uint8Array): NewBytes {
    return this.#body.seal_chunk(BigInt(number), last, plaintext) as NewBytes;
  }

  openNow(number: number, last: boolean, sealed: Uint8Array): NewBytes {
    return this.#body.open_chunk(BigInt(number), last, sealed) as NewBytes;
  }

  /** `undefined` for a number that no chunk has, which the module refuses. */
  #nonceOf(number: number, last: boolean): NewBytes | undefined {
    if (number > 0xffff_ffff) return undefined;
    new DataView(this.#nonce.buffer).setUint32(7, number);
    this.#nonce[11] = last ? 1 : 0;
    return this.#nonce;
  }

  forget(): void {
    this.#key?.forget();
  }
}

/** @internal How many pieces of this size, in bytes, are worked on at the same time. */
export function aheadOf(size: number): number {
  return Math.max(2, Math.floor(IN_FLIGHT / size));
}

/** @internal Results of jobs that run at the same time, handed over in the order in which the jobs were added. */
export class InOrder {
  readonly #most: number;
  readonly #handOver: (result: NewBytes) => void;
  readonly #running: Promise<NewBytes>[] = [];

  /** `size`: of each job, in bytes. */
  constructor(size: number, handOver: (result: NewBytes) => void) {
    this.#most = aheadOf(size);
    this.#handOver = handOver;
  }

  /** Waits for the first when there are as many as there may be. */
  async add(job: Promise<NewBytes>): Promise<void> {
    // It may fail before anybody asks for it.
    job.catch(() => {});
    this.#running.push(job);
    if (this.#running.length > this.#most) await this.#next();
  }

  async end(): Promise<void> {
    while (this.#running.length) await this.#next();
  }

  async #next(): Promise<void> {
    this.#handOver((await this.#running.shift()) as NewBytes);
  }
}

/**
 * The counter block on its way to WebCrypto, which copies it before it returns. A new one each time would have V8 collect its smallest things
 * more often, and the long results with them, whose memory would then come from the system anew: at 1 MiB that cost a fifth of the speed.
 */
const counter = new Uint8Array(16);

/** A key that WebCrypto is given when it is needed first. */
class WebKey {
  readonly #name: string;
  readonly #bytes: () => NewBytes;
  #importing: Promise<CryptoKey> | undefined;
  #isForgotten = false;

  /** The key, once it has been imported. */
  now: CryptoKey | undefined;

  constructor(name: string, bytes: () => NewBytes) {
    this.#name = name;
    this.#bytes = bytes;
  }

  imported(): Promise<CryptoKey> {
    this.#importing ??= this.#import().then(
      (key) => {
        if (!this.#isForgotten) this.now = key;
        return key;
      },
      (error: unknown) => {
        this.#importing = undefined;
        throw asStillkeyError(error);
      },
    );
    return this.#importing;
  }

  /** WebCrypto copies the bytes before it returns, so that the copy made for it can go at once. */
  async #import(): Promise<CryptoKey> {
    const bytes = this.#bytes();
    try {
      return await crypto.subtle.importKey('raw', bytes, this.#name, false, ['encrypt', 'decrypt']);
    } finally {
      bytes.fill(0);
    }
  }

  forget(): void {
    this.#isForgotten = true;
    this.now = this.#importing = undefined;
  }
}

/** Pages that aren't served securely have none. */
function hasWebCrypto(): boolean {
  return Boolean(globalThis.crypto?.subtle);
}

/** WebCrypto takes no memory that may change meanwhile. */
function isForWebCrypto(bytes: Uint8Array): bytes is NewBytes {
  const { buffer } = bytes as { buffer: ArrayBufferLike & { resizable?: boolean } };
  return buffer instanceof ArrayBuffer && buffer.resizable !== true;
}
