/** Sealed objects: one self-describing file, opened by any of several master keys, whole, in streams, or by ranges. */
import { type Bytes, concatenated, copyOf, fieldsOf, optionsOf, type Position, release, textOf, unicodeOf, viewOf } from './arguments.js';
import { type AbortOptions, BackgroundChunks, BackgroundCtr, type BackgroundOptions, InOrder } from './background.js';
import type * as raw from './bindings.js';
import { blobOf, type BlobOptions, Ending, lazily, rangeOf, readBlob } from './decrypt.js';
import { guarded, usage } from './errors.js';
import { describe, Handle, hold, rawOf } from './handle.js';
import { type MasterKey, rawMasterKey } from './keys.js';
import { wasm } from './module.js';
import type { NewBytes } from './types.js';

/**
 * Cipher and form of a body. The `-ctr` suites are streams as long as the plaintext, *without integrity*; the `-gcm` suites are
 * authenticated chunks, in which truncation, reordering, duplication and extension are detected.
 */
export type Suite = 'aes128-ctr' | 'aes192-ctr' | 'aes256-ctr' | 'sm4-ctr' | 'aes256-gcm' | 'sm4-gcm';

/** Facts about an object, not secret, that must be presented again to open it: names and values, in any order. */
export type EncryptionContext = Readonly<Record<string, string>> | ReadonlyMap<string, string>;

/** Options for opening. */
export interface OpenOptions {
  /** The encryption context that the object was sealed with. Default: empty. */
  context?: EncryptionContext;
}

/** Options for sealing. */
export interface SealOptions extends OpenOptions {
  /** Default: `aes256-gcm`. */
  suite?: Suite;
  /** Plaintext bytes in each chunk: a power of two from 4 KiB to 16 MiB. Streams ignore it. Default: 64 KiB. */
  chunkSize?: number;
}

/** What an object says about itself to anyone. Nothing has authenticated it. */
export interface SealedHeader {
  /** Length of the header in bytes; the body follows. */
  readonly length: number;
  /** Cipher and form of the body. */
  readonly suite: Suite;
  /** Plaintext bytes in each chunk but the last; `null` for a stream. */
  readonly chunkSize: number | null;
  /** The initialization vector, 16 bytes. */
  readonly iv: NewBytes;
  /** The master keys that open the object. */
  readonly recipients: readonly Recipient[];
}

/** A master key that opens an object. */
export interface Recipient {
  /** What kind of master key it is: 1 for 32 bytes, other numbers for key services. */
  readonly provider: number;
  /** Its name: for 32 bytes, {@link MasterKey.reference}. */
  readonly reference: string;
}

/** Changes of who can open an object, for {@link SealedObject.resealHeader}. */
export interface ResealOptions extends OpenOptions {
  /** Master keys that shall open it from now on; one that is a recipient already is wrapped again. */
  add?: readonly MasterKey[];
  /** References of the recipients that shall not. */
  remove?: readonly string[];
}

/** What is read from a stream object at once, in bytes. */
const READ = 1 << 20;

/** Bytes that a chunk grows by. */
const OVERHEAD = 16;

/** An opened object that gives out any part of its plaintext without reading the rest. */
export class SealedObject extends Handle {
  /** What the object says about itself; authenticated by now. */
  readonly header: SealedHeader;

  /** Length of the plaintext in bytes. */
  readonly plaintextLength: number;

  readonly #source: Source;
  readonly #worker: boolean | undefined;

  private constructor(source: Source, header: SealedHeader, body: Body, worker: boolean | undefined) {
    super();
    if (!source) throw usage('SealedObject: use SealedObject.from(), .open() or .seal()');
    this.#source = source;
    this.#worker = worker;
    this.header = header;
    hold(this, body);
    this.plaintextLength = body.plaintextLength(source.size - header.length);
  }

  /**
   * Reads what an object says about itself, without a key.
   *
   * @param bytes The object, or its start with the whole header.
   * @throws {@link StillkeyError} `damaged`; `unsupported` for what isn't a sealed object, or is one of the future.
   */
  static header(bytes: Bytes): SealedHeader {
    return guarded(() => {
      const header = parseHeader(viewOf(bytes, 'object'));
      try {
        return headerOf(header);
      } finally {
        header.free();
      }
    });
  }

  /**
   * Seals `plaintext` so that each of `masterKeys` (1 to 64) opens it.
   *
   * @throws {@link StillkeyError} `usage` for no key, too many, or {@link MasterKey.plaintext} among them.
   */
  static seal(plaintext: Bytes, masterKeys: MasterKey | readonly MasterKey[], options?: SealOptions): NewBytes {
    return guarded(() => {
      const source = viewOf(plaintext, 'plaintext');
      const body = Body.create(masterKeys, optionsOf(options, SEALING));
      try {
        return body.sealNow(source);
      } finally {
        body.free();
      }
    });
  }

  /**
   * As {@link seal}, in the background: AES-128 and AES-256 by WebCrypto, many times as fast, and with `worker: true` the
   * others in a worker. `plaintext` is read before this returns.
   *
   * @throws {@link StillkeyError} as {@link seal}; the reason of `signal`.
   */
  static async sealAsync(
    plaintext: Bytes,
    masterKeys: MasterKey | readonly MasterKey[],
    options?: SealOptions & BackgroundOptions,
  ): Promise<NewBytes> {
    const given = guarded(() => optionsOf(options, [...SEALING, 'signal', 'worker']));
    given.signal?.throwIfAborted();
    const source = guarded(() => copyOf(plaintext, 'plaintext'));
    const body = guarded(() => Body.create(masterKeys, given));
    try {
      return await body.seal(source, given);
    } finally {
      body.free();
    }
  }

  /**
   * The plaintext of a whole object that is in memory. For parts of one, or one in a file, see {@link SealedObject.from}.
   *
   * @throws {@link StillkeyError} `wrong-master-key` when none of the keys is a recipient's; `damaged`; `unsupported`; `usage`
   * (`wrong-context`) for another encryption context.
   */
  static open(bytes: Bytes, masterKeys: MasterKey | readonly MasterKey[], options?: OpenOptions): NewBytes {
    return guarded(() => {
      const object = viewOf(bytes, 'object');
      const { context } = optionsOf(options, ['context']);
      const { body, length } = opened(object, keysOf(masterKeys, context));
      try {
        return body.openNow(object.subarray(length));
      } finally {
        body.free();
      }
    });
  }

  /**
   * As {@link open}, in the background, as {@link sealAsync} is. `bytes` are read before this returns.
   *
   * @throws {@link StillkeyError} as {@link open}; the reason of `signal`.
   */
  static async openAsync(
    bytes: Bytes,
    masterKeys: MasterKey | readonly MasterKey[],
    options?: OpenOptions & BackgroundOptions,
  ): Promise<NewBytes> {
    const { context, ...given } = guarded(() => optionsOf(options, ['context', 'signal', 'worker']));
    given.signal?.throwIfAborted();
    const object = guarded(() => copyOf(bytes, 'object'));
    const { body, length } = guarded(() => opened(object, keysOf(masterKeys, context)));
    try {
      return await body.open(object.subarray(length), given);
    } finally {
      body.free();
    }
  }

  /**
   * The header for the same body with other recipients, which takes the place of the old one: the body stays as it is,
   * byte for byte. The old header is `SealedObject.header(bytes).length` bytes long, the new one perhaps more or fewer.
   *
   * The object's keys don't change: a recipient that is removed can't open the new object, but whoever kept the old header
   * still can.
   *
   * @param bytes The object, or its start with the whole header.
   * @param masterKeys Keys of which one opens the object.
   * @throws {@link StillkeyError} as {@link open}; `usage` when no recipient is left, or for a reference in `remove` that
   * none has (`not-found`).
   */
  static resealHeader(bytes: Bytes, masterKeys: MasterKey | readonly MasterKey[], options: ResealOptions): NewBytes {
    return guarded(() => {
      const { context, add = [], remove = [] } = optionsOf(options, ['context', 'add', 'remove']);
      const header = parseHeader(viewOf(bytes, 'object'));
      let [keys, added]: (raw.MasterKeys | undefined)[] = [];
      try {
        keys = keysOf(masterKeys, context);
        added = keysOf(listOf(add, 'add'), undefined);
        const references = header.recipient_references();
        const removed = listOf(remove, 'remove').map((reference) => textOf(reference, 'remove'));
        const unknown = removed.find((reference) => !references.includes(reference));
        if (unknown !== undefined) throw usage(`remove: the object has no recipient ${JSON.stringify(unknown)}`, 'not-found');
        const keep = Uint8Array.from(references, (reference) => (removed.includes(reference) ? 0 : 1));
        return header.reseal(keys, keep, added) as NewBytes;
      } finally {
        for (const handle of [header, keys, added]) handle?.free();
      }
    });
  }

  /**
   * Opens an object of any size for reading by ranges. Of chunked objects, the last chunk is opened at once: one that was cut off or
   * extended is refused before it gives out anything. A stream can't be checked.
   *
   * @param source The object, in a `Blob` or `File`, or in memory, from which it is copied.
   * @throws {@link StillkeyError} as {@link SealedObject.open}; `usage` (`unavailable`) when the `Blob` can't be read; the reason of
   * `signal`.
   */
  static async from(
    source: Blob | Bytes,
    masterKeys: MasterKey | readonly MasterKey[],
    options?: OpenOptions & BackgroundOptions,
  ): Promise<SealedObject> {
    const { context, signal, worker } = guarded(() => optionsOf(options, ['context', 'signal', 'worker']));
    const bytes = guarded(() => sourceOf(source));
    const keys = guarded(() => keysOf(masterKeys, context));
    const object = await SealedObject.#opened(bytes, keys, signal, worker).finally(() => keys.free());
    const { chunkSize } = object.header;
    if (chunkSize !== null) {
      try {
        await object.#chunk(Math.max(0, Math.ceil(object.plaintextLength / chunkSize) - 1), signal);
        signal?.throwIfAborted();
      } catch (error) {
        object.free();
        throw error;
      }
    }
    return object;
  }

  static async #opened(
    source: Source,
    keys: raw.MasterKeys,
    signal: AbortSignal | undefined,
    worker: boolean | undefined,
  ): Promise<SealedObject> {
    const prefix = await source.read(0, Math.min(source.size, guarded(() => wasm().Header.prefix_len())));
    const length = guarded(() => wasm().Header.len_of(prefix));
    const start = await source.read(0, Math.min(source.size, length));
    signal?.throwIfAborted();
    return guarded(() => {
      const header = parseHeader(start);
      try {
        const body = new Body(header.open(keys), header);
        try {
          return new SealedObject(source, headerOf(header), body, worker);
        } catch (error) {
          body.free();
          throw error;
        }
      } finally {
        header.free();
      }
    });
  }

  /**
   * The plaintext of a range, in one piece.
   *
   * @param start The first byte wanted.
   * @param end The byte behind the last one wanted; what lies behind the plaintext's end is left out.
   * @throws {@link StillkeyError} `damaged` for a chunk that was changed or moved; `usage` for a range that can't be; the reason of `signal`.
   */
  async read(start?: Position, end?: Position, options?: AbortOptions): Promise<NewBytes> {
    const { signal } = guarded(() => optionsOf(options, ['signal']));
    const [from, to] = guarded(() => rangeOf(this.plaintextLength, start, end));
    const result = guarded(() => new Uint8Array(to - from));
    let at = 0;
    const pieces = new InOrder(this.#readSize, (piece) => {
      result.set(piece, at);
      at += piece.length;
      release(piece);
    });
    for (const [start, end] of within(from, to, this.#readSize)) {
      signal?.throwIfAborted();
      await pieces.add(this.#readWithin(start, end, signal));
    }
    await pieces.end();
    return result;
  }

  /**
   * The plaintext, or a part of it, read as it is asked for, and up to 4 MiB ahead where the background works on it.
   *
   * @throws {@link StillkeyError} `usage` for a range that can't be. Inside the stream, as {@link read}.
   */
  stream(options?: BlobOptions): ReadableStream<NewBytes> {
    const { start, end, signal, worker } = guarded(() => optionsOf(options, ['start', 'end', 'signal', 'worker']));
    const range = guarded(() => rangeOf(this.plaintextLength, start, end));
    const works = worker ?? this.#worker;
    const ahead = guarded(() => rawOf<Body>(this, SealedObject).isBackground(works));
    return lazily(range, this.#readSize, new Ending(signal), { ahead, read: (from, to) => this.#readWithin(from, to, signal, works) });
  }

  get #readSize(): number {
    return this.header.chunkSize ?? READ;
  }

  /** The plaintext of a range that doesn't cross a multiple of the size that is read at once. */
  async #readWithin(from: number, to: number, signal: AbortSignal | undefined, worker = this.#worker): Promise<NewBytes> {
    const { chunkSize, length } = this.header;
    if (chunkSize === null) {
      const bytes = await this.#source.read(length + from, length + to);
      const result = guarded(() => rawOf<Body>(this, SealedObject)).apply(BigInt(from), bytes, { signal, worker });
      release(bytes);
      return result;
    }
    const number = Math.floor(from / chunkSize);
    const chunk = await this.#chunk(number, signal, worker);
    const first = number * chunkSize;
    if (from === first && to - from === chunk.length) return chunk;
    const part = chunk.slice(from - first, to - first);
    release(chunk);
    return part;
  }

  async #chunk(number: number, signal: AbortSignal | undefined, worker = this.#worker): Promise<NewBytes> {
    const { chunkSize, length } = this.header;
    const sealedSize = (chunkSize ?? 0) + OVERHEAD;
    const at = length + number * sealedSize;
    const end = Math.min(this.#source.size, at + sealedSize);
    const sealed = await this.#source.read(at, end);
    const body = guarded(() => rawOf<Body>(this, SealedObject));
    const chunk = await body.openChunk(number, end === this.#source.size, sealed, { signal, worker });
    release(sealed);
    return chunk;
  }
}

/**
 * A stream from plaintext to a sealed object.
 *
 * @throws {@link StillkeyError} as {@link SealedObject.seal}. Inside the stream, the reason of `signal`.
 */
export function sealStream(
  masterKeys: MasterKey | readonly MasterKey[],
  options?: SealOptions & BackgroundOptions,
): TransformStream<Bytes, NewBytes> {
  const given = guarded(() => optionsOf(options, [...SEALING, 'signal', 'worker']));
  const body = guarded(() => Body.create(masterKeys, given));
  return through(new Ending(given.signal, body), (emit) => {
    const pieces = body.sealing(given, emit);
    let begun = false;
    const begin = () => {
      if (!begun) emit(body.header);
      begun = true;
    };
    return {
      push(piece) {
        begin();
        return pieces.push(piece);
      },
      finish() {
        begin();
        return pieces.finish();
      },
    };
  });
}

/**
 * A stream from a sealed object to its plaintext. It gives out only what has been authenticated, where the suite authenticates; but that
 * the object wasn't cut off is known only when the stream has ended without an error.
 *
 * @throws Inside the stream, {@link StillkeyError} as {@link SealedObject.open}, and the reason of `signal`.
 */
export function openStream(
  masterKeys: MasterKey | readonly MasterKey[],
  options?: OpenOptions & BackgroundOptions,
): TransformStream<Bytes, NewBytes> {
  const { context, ...given } = guarded(() => optionsOf(options, ['context', 'signal', 'worker']));
  const keys = guarded(() => keysOf(masterKeys, context));
  let start: Uint8Array = new Uint8Array();
  let body: Body | undefined;
  let isFreed = false;
  const content = {
    free() {
      isFreed = true;
      keys.free();
      body?.free();
    },
  };
  return through(new Ending(given.signal, content), (emit) => {
    let pieces: Pieces | undefined;
    const open = (bytes: Uint8Array) => {
      if (isFreed) throw usage('the stream has ended', 'freed');
      const header = parseHeader(bytes);
      try {
        body = new Body(header.open(keys), header);
        pieces = body.opening(given, emit);
        return pieces.push(bytes.subarray(header.len()));
      } finally {
        header.free();
      }
    };
    return {
      push(piece) {
        if (pieces) return pieces.push(piece);
        const { Header } = wasm();
        start = concatenated([start, piece]);
        const known = start.length >= Header.prefix_len();
        return known && start.length >= Header.len_of(start) ? open(start) : undefined;
      },
      async finish() {
        // Cut off before the header's end: parsing it says so.
        if (!pieces) await open(start);
        await pieces?.finish();
      },
    };
  });
}

/** What goes through a stream; what comes out is emitted. */
interface Pieces {
  push(piece: Uint8Array): Promise<void> | void;
  finish(): Promise<void> | void;
}

type Emit = (bytes: NewBytes) => void;

function through(ending: Ending, start: (emit: Emit) => Pieces): TransformStream<Bytes, NewBytes> {
  let pieces: Pieces;
  const attempt = async (work: () => Promise<void> | void) => {
    try {
      await guarded(work);
    } catch (error) {
      ending.end();
      throw ending.errorOf(error);
    }
  };
  return new TransformStream({
    start(controller) {
      ending.watch(controller);
      pieces = start((bytes) => {
        if (bytes.length) controller.enqueue(bytes);
      });
    },
    transform: (chunk) => attempt(() => pieces.push(viewOf(chunk, 'chunk'))),
    flush: () =>
      attempt(async () => {
        await pieces.finish();
        ending.end();
      }),
    cancel: () => ending.end(),
  } as Transformer<Bytes, NewBytes>);
}

/** The body of an object with its key. */
class Body {
  readonly #body: raw.Body;
  readonly #chunkSize: number | null;
  readonly #chunks: BackgroundChunks;
  readonly #stream: BackgroundCtr | null = null;

  /** Takes `body` over. `about`: its header, or what a new one is made with. */
  constructor(body: raw.Body, about: { suite(): string; chunk_size(): number | undefined }) {
    this.#body = body;
    this.#chunkSize = about.chunk_size() ?? null;
    this.#chunks = new BackgroundChunks(body, about.suite());
    const stream = body.stream();
    if (stream) this.#stream = new BackgroundCtr(stream, about.suite(), body.iv());
  }

  /** The body of a new object. */
  static create(masterKeys: MasterKey | readonly MasterKey[], options: SealOptions): Body {
    const { suite = 'aes256-gcm', chunkSize = 64 << 10, context } = options;
    const exponent = typeof chunkSize === 'number' ? Math.log2(chunkSize) : NaN;
    if (!Number.isInteger(exponent) || exponent < 12 || exponent > 24) {
      const shown = typeof chunkSize === 'number' ? chunkSize : describe(chunkSize);
      throw usage(`chunkSize: ${shown} is not a power of two from 4 KiB to 16 MiB; use a number such as 65536`);
    }
    const keys = keysOf(masterKeys, context);
    try {
      const body = wasm().Body.create(textOf(suite, 'suite'), exponent, keys);
      const header = parseHeader(body.header());
      try {
        return new Body(body, header);
      } finally {
        header.free();
      }
    } finally {
      keys.free();
    }
  }

  /** The header of a new object. */
  get header(): NewBytes {
    return this.#body.header() as NewBytes;
  }

  plaintextLength(bodyLength: number): number {
    return this.#body.plaintext_len(BigInt(bodyLength));
  }

  isBackground(worker: boolean | undefined): boolean {
    return (this.#stream ?? this.#chunks).isBackground(worker);
  }

  sealNow(plaintext: Uint8Array): NewBytes {
    const parts: Uint8Array[] = [this.header];
    this.#each(plaintext, 0, (number, last, piece) => parts.push(this.#chunks.sealNow(number, last, piece)), (all) => parts.push(all));
    return concatenated(parts);
  }

  openNow(bytes: Uint8Array): NewBytes {
    const parts: Uint8Array[] = [];
    this.#each(bytes, OVERHEAD, (number, last, piece) => parts.push(this.#chunks.openNow(number, last, piece)), (all) => parts.push(all));
    return concatenated(parts);
  }

  #each(
    bytes: Uint8Array,
    overhead: number,
    chunk: (number: number, last: boolean, piece: Uint8Array) => void,
    stream: (bytes: Uint8Array) => void,
  ): void {
    if (this.#stream) {
      const copy = copyOf(bytes, 'object');
      this.#stream.applyNow(0n, copy);
      return stream(copy);
    }
    for (const [number, last, piece] of chunksOf(bytes, (this.#chunkSize ?? 0) + overhead)) chunk(number, last, piece);
  }

  /** `plaintext` is nobody else's. */
  async seal(plaintext: NewBytes, options: BackgroundOptions): Promise<NewBytes> {
    const { header } = this;
    if (this.#stream) return concatenated([header, await this.#stream.apply(0n, plaintext, options)]);
    const size = this.#chunkSize as number;
    const count = Math.max(1, Math.ceil(plaintext.length / size));
    const result = guarded(() => new Uint8Array(header.length + plaintext.length + count * OVERHEAD));
    result.set(header);
    await this.#all(plaintext, size, result.subarray(header.length), (number, last, piece) => this.#chunks.seal(number, last, piece, options), options);
    return result;
  }

  /** `bytes` are nobody else's. */
  async open(bytes: NewBytes, options: BackgroundOptions): Promise<NewBytes> {
    if (this.#stream) return this.#stream.apply(0n, bytes, options);
    const size = (this.#chunkSize as number) + OVERHEAD;
    const [whole, rest] = [Math.floor(bytes.length / size), bytes.length % size];
    // What is shorter than its tag doesn't open.
    const length = whole * (size - OVERHEAD) + Math.max(0, rest - OVERHEAD);
    const result = guarded(() => new Uint8Array(length));
    await this.#all(bytes, size, result, (number, last, piece) => this.#chunks.open(number, last, piece, options), options);
    return result;
  }

  async #all(
    bytes: NewBytes,
    size: number,
    result: NewBytes,
    work: (number: number, last: boolean, piece: NewBytes) => Promise<NewBytes>,
    { signal, worker }: BackgroundOptions,
  ): Promise<void> {
    await this.#chunks.ready();
    let at = 0;
    const results = new InOrder(size, (piece) => {
      result.set(piece, at);
      at += piece.length;
      release(piece);
    });
    for (const [number, last, piece] of chunksOf(bytes, size)) {
      signal?.throwIfAborted();
      // The worker takes over what it gets.
      await results.add(work(number, last, (worker ? piece.slice() : piece) as NewBytes));
    }
    await results.end();
  }

  async apply(start: bigint, bytes: NewBytes, options: BackgroundOptions): Promise<NewBytes> {
    if (!this.#stream) throw usage('this object has no stream');
    return this.#stream.apply(start, bytes, options);
  }

  async openChunk(number: number, last: boolean, sealed: NewBytes, options: BackgroundOptions): Promise<NewBytes> {
    await this.#chunks.ready();
    return this.#chunks.open(number, last, sealed, options);
  }

  /** Seals what is pushed. */
  sealing(options: BackgroundOptions, emit: Emit): Pieces {
    return this.#pieces(0, (number, last, piece) => this.#chunks.seal(number, last, piece, options), options, emit);
  }

  /** Opens what is pushed. */
  opening(options: BackgroundOptions, emit: Emit): Pieces {
    return this.#pieces(OVERHEAD, (number, last, piece) => this.#chunks.open(number, last, piece, options), options, emit);
  }

  #pieces(
    overhead: number,
    work: (number: number, last: boolean, piece: NewBytes) => Promise<NewBytes>,
    options: BackgroundOptions,
    emit: Emit,
  ): Pieces {
    const stream = this.#stream;
    if (stream) {
      let at = 0n;
      return {
        async push(piece) {
          const start = at;
          at += BigInt(piece.length);
          emit(await stream.apply(start, piece, options));
        },
        finish() {},
      };
    }
    const size = (this.#chunkSize as number) + overhead;
    const [gathered, results] = [new Gathered(size), new InOrder(size, emit)];
    const chunks = this.#chunks;
    let number = 0;
    return {
      async push(piece) {
        await chunks.ready();
        for (const chunk of gathered.add(piece)) await results.add(work(number++, false, chunk));
      },
      async finish() {
        await chunks.ready();
        await results.add(work(number, true, gathered.rest()));
        await results.end();
      },
    };
  }

  free(): void {
    this.#chunks.forget();
    this.#stream?.free();
    this.#body.free();
  }
}

/** Bytes that come together until there is a chunk, and more: only then is it known not to be the last. */
class Gathered {
  readonly #size: number;
  #chunk: NewBytes = new Uint8Array();
  #length = 0;

  constructor(size: number) {
    this.#size = size;
  }

  *add(bytes: Uint8Array): Generator<NewBytes> {
    for (let at = 0; at < bytes.length; ) {
      if (this.#length === this.#size) yield this.rest();
      const piece = bytes.subarray(at, at + this.#size - this.#length);
      this.#room(this.#length + piece.length);
      this.#chunk.set(piece, this.#length);
      this.#length += piece.length;
      at += piece.length;
    }
  }

  /** What there is; from then on, there is nothing. */
  rest(): NewBytes {
    const chunk = this.#length === this.#chunk.length ? this.#chunk : this.#chunk.slice(0, this.#length);
    this.#chunk = new Uint8Array();
    this.#length = 0;
    return chunk;
  }

  /** Large chunks may be small ones after all. */
  #room(length: number): void {
    if (length <= this.#chunk.length) return;
    const chunk = new Uint8Array(Math.min(this.#size, Math.max(2 * length, 64 << 10)));
    chunk.set(this.#chunk.subarray(0, this.#length));
    this.#chunk = chunk;
  }
}

/** The chunks of a body: their numbers, whether each is the last, and their bytes. There is always one. */
function* chunksOf(bytes: Uint8Array, size: number): Generator<[number: number, last: boolean, piece: Uint8Array]> {
  let number = 0;
  do {
    const end = (number + 1) * size;
    yield [number, end >= bytes.length, bytes.subarray(number * size, end)];
  } while (++number * size < bytes.length);
}

/** The parts of a range, none of which crosses a multiple of `size`. */
function* within(from: number, to: number, size: number): Generator<[from: number, to: number]> {
  for (let at = from; at < to; ) {
    const next = Math.min(to, (Math.floor(at / size) + 1) * size);
    yield [at, next];
    at = next;
  }
}

/** Where an object is. */
interface Source {
  readonly size: number;
  read(from: number, to: number): Promise<NewBytes>;
}

function sourceOf(source: Blob | Bytes): Source {
  if (source instanceof Blob) {
    const blob = blobOf(source);
    return { size: blob.size, read: (from, to) => readBlob(blob, from, to) };
  }
  const bytes = copyOf(source, 'object');
  return { size: bytes.length, read: async (from, to) => bytes.slice(from, to) };
}

function parseHeader(object: Uint8Array): raw.Header {
  const { Header } = wasm();
  const length = Header.len_of(object.subarray(0, Header.prefix_len()));
  return Header.parse(object.subarray(0, length));
}

function headerOf(header: raw.Header): SealedHeader {
  const references = header.recipient_references();
  return {
    length: header.len(),
    suite: header.suite() as Suite,
    chunkSize: header.chunk_size() ?? null,
    iv: header.iv() as NewBytes,
    recipients: Array.from(header.recipient_providers(), (provider, index) => ({
      provider,
      reference: references[index] ?? '',
    })),
  };
}

/** Takes the keys over. `object`: with its whole header, whose length is said. */
function opened(object: Uint8Array, keys: raw.MasterKeys): { body: Body; length: number } {
  let header: raw.Header | undefined;
  try {
    header = parseHeader(object);
    return { body: new Body(header.open(keys), header), length: header.len() };
  } finally {
    header?.free();
    keys.free();
  }
}

const SEALING = ['suite', 'chunkSize', 'context'] as const;

function listOf<T>(list: readonly T[], name: string): readonly T[] {
  if (!Array.isArray(list)) throw usage(`${name}: an array is needed, not ${describe(list)}`);
  return list;
}

function keysOf(masterKeys: MasterKey | readonly MasterKey[], context: EncryptionContext | undefined): raw.MasterKeys {
  const list: readonly MasterKey[] = Array.isArray(masterKeys) ? masterKeys : [masterKeys as MasterKey];
  const keys = new (wasm().MasterKeys)();
  try {
    for (const key of list) keys.push(rawMasterKey(key));
    for (const [name, value] of pairsOf(context)) {
      keys.bind(unicodeOf(name, 'context: a name'), unicodeOf(value as string, `context: ${name}`));
    }
    return keys;
  } catch (error) {
    keys.free();
    throw error;
  }
}

function pairsOf(context: EncryptionContext | undefined): Iterable<[string, unknown]> {
  if (context === undefined) return [];
  return context instanceof Map ? context : fieldsOf(context, 'context', 'a plain object or a Map');
}
