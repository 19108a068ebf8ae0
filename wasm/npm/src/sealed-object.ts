/** Sealed objects: one self-describing file, opened by any of several master keys, whole, in streams, or by ranges. */
import { type Bytes, concatenated, copyOf, fieldsOf, optionsOf, type Position, textOf, unicodeOf, viewOf } from './arguments.js';
import type * as raw from './bindings.js';
import { type AbortOptions, applyAt } from './ctr-stream.js';
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

/** What is sealed or opened at once, in bytes: the module's memory doesn't grow with the object. */
const PIECE = 1 << 20;

/** What is read from a stream object at once, in bytes. */
const READ = 1 << 20;

/** An opened object that gives out any part of its plaintext without reading the rest. */
export class SealedObject extends Handle {
  /** What the object says about itself; authenticated by now. */
  readonly header: SealedHeader;

  /** Length of the plaintext in bytes. */
  readonly plaintextLength: number;

  readonly #source: Source;

  private constructor(source: Source, header: SealedHeader, body: raw.Body) {
    super();
    if (!source) throw usage('SealedObject: use SealedObject.from(), .open() or .seal()');
    this.#source = source;
    this.header = header;
    hold(this, body);
    this.plaintextLength = body.plaintext_len(BigInt(source.size - header.length));
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
      const sealer = newSealer(masterKeys, optionsOf(options, SEALING));
      try {
        return concatenated(pieces(source, (piece) => sealer.push(piece), () => sealer.finish()));
      } finally {
        sealer.free();
      }
    });
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
      const header = parseHeader(object);
      let opener: raw.Opener | undefined;
      try {
        const started = (opener = openBody(header, keysOf(masterKeys, context)).opener());
        const body = object.subarray(header.len());
        return concatenated(pieces(body, (piece) => started.push(piece), () => started.finish()));
      } finally {
        header.free();
        opener?.free();
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
    options?: OpenOptions & AbortOptions,
  ): Promise<SealedObject> {
    const { context, signal } = guarded(() => optionsOf(options, ['context', 'signal']));
    const bytes = guarded(() => sourceOf(source));
    const keys = guarded(() => keysOf(masterKeys, context));
    const object = await SealedObject.#opened(bytes, keys, signal).finally(() => keys.free());
    const { chunkSize } = object.header;
    if (chunkSize !== null) {
      try {
        await object.#chunk(Math.max(0, Math.ceil(object.plaintextLength / chunkSize) - 1));
        signal?.throwIfAborted();
      } catch (error) {
        object.free();
        throw error;
      }
    }
    return object;
  }

  static async #opened(source: Source, keys: raw.MasterKeys, signal: AbortSignal | undefined): Promise<SealedObject> {
    const prefix = await source.read(0, Math.min(source.size, guarded(() => wasm().Header.prefix_len())));
    const length = guarded(() => wasm().Header.len_of(prefix));
    const start = await source.read(0, Math.min(source.size, length));
    signal?.throwIfAborted();
    return guarded(() => {
      const header = parseHeader(start);
      try {
        return new SealedObject(source, headerOf(header), header.open(keys));
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
    let at = from;
    for (const size = this.#readSize; at < to; ) {
      signal?.throwIfAborted();
      const next = Math.min(to, (Math.floor(at / size) + 1) * size);
      result.set(await this.#readWithin(at, next), at - from);
      at = next;
    }
    return result;
  }

  /**
   * The plaintext, or a part of it, read as it is asked for.
   *
   * @throws {@link StillkeyError} `usage` for a range that can't be. Inside the stream, as {@link read}.
   */
  stream(options?: BlobOptions): ReadableStream<NewBytes> {
    const { start, end, signal } = guarded(() => optionsOf(options, ['start', 'end', 'signal']));
    const range = guarded(() => rangeOf(this.plaintextLength, start, end));
    return lazily(range, this.#readSize, new Ending(signal), async (from, piece) => {
      piece.set(await this.#readWithin(from, from + piece.length));
    });
  }

  get #readSize(): number {
    return this.header.chunkSize ?? READ;
  }

  /** The plaintext of a range that doesn't cross a multiple of the size that is read at once. */
  async #readWithin(from: number, to: number): Promise<NewBytes> {
    const { chunkSize, length } = this.header;
    if (chunkSize === null) {
      const bytes = await this.#source.read(length + from, length + to);
      guarded(() => {
        const stream = rawOf<raw.Body>(this, SealedObject).stream();
        if (!stream) throw usage('this object has no stream');
        try {
          applyAt(stream, from, bytes);
        } finally {
          stream.free();
        }
      });
      return bytes;
    }
    const number = Math.floor(from / chunkSize);
    const chunk = await this.#chunk(number);
    const first = number * chunkSize;
    return from === first && to - from === chunk.length ? chunk : chunk.slice(from - first, to - first);
  }

  async #chunk(number: number): Promise<NewBytes> {
    const { chunkSize, length } = this.header;
    const sealedSize = (chunkSize ?? 0) + 16;
    const at = length + number * sealedSize;
    const end = Math.min(this.#source.size, at + sealedSize);
    const sealed = await this.#source.read(at, end);
    return guarded(() => {
      const body = rawOf<raw.Body>(this, SealedObject);
      return body.open_chunk(BigInt(number), end === this.#source.size, sealed) as NewBytes;
    });
  }
}

/**
 * A stream from plaintext to a sealed object.
 *
 * @throws {@link StillkeyError} as {@link SealedObject.seal}. Inside the stream, the reason of `signal`.
 */
export function sealStream(
  masterKeys: MasterKey | readonly MasterKey[],
  options?: SealOptions & AbortOptions,
): TransformStream<Bytes, NewBytes> {
  const given = guarded(() => optionsOf(options, [...SEALING, 'signal']));
  const sealer = guarded(() => newSealer(masterKeys, given));
  return through(new Ending(given.signal, sealer), (piece) => sealer.push(piece), () => sealer.finish());
}

/**
 * A stream from a sealed object to its plaintext. It gives out only what has been authenticated, where the suite authenticates; but that
 * the object wasn't cut off is known only when the stream has ended without an error.
 *
 * @throws Inside the stream, {@link StillkeyError} as {@link SealedObject.open}, and the reason of `signal`.
 */
export function openStream(
  masterKeys: MasterKey | readonly MasterKey[],
  options?: OpenOptions & AbortOptions,
): TransformStream<Bytes, NewBytes> {
  const { context, signal } = guarded(() => optionsOf(options, ['context', 'signal']));
  const keys = guarded(() => keysOf(masterKeys, context));
  let start: Uint8Array = new Uint8Array();
  let opener: raw.Opener | undefined;
  const content = {
    free() {
      keys.free();
      opener?.free();
    },
  };
  const open = (bytes: Uint8Array) => {
    const header = parseHeader(bytes);
    try {
      opener = header.open(keys).opener();
      return opener.push(bytes.subarray(header.len()));
    } finally {
      header.free();
    }
  };
  return through(
    new Ending(signal, content),
    (piece) => {
      if (opener) return opener.push(piece);
      const { Header } = wasm();
      start = concatenated([start, piece]);
      const known = start.length >= Header.prefix_len();
      if (!known || start.length < Header.len_of(start)) return new Uint8Array();
      return open(start);
    },
    () => {
      // Cut off before the header's end: parsing it says so.
      if (!opener) open(start);
      return opener?.finish() ?? new Uint8Array();
    },
  );
}

/** What the module returns is never shared, which its types don't say. */
type Push = (piece: Uint8Array) => Uint8Array;
type Finish = () => Uint8Array;

function through(ending: Ending, push: Push, finish: Finish): TransformStream<Bytes, NewBytes> {
  const attempt = (work: () => void) => {
    try {
      guarded(work);
    } catch (error) {
      ending.end();
      throw error;
    }
  };
  return new TransformStream({
    start: (controller) => ending.watch(controller),
    transform(chunk, controller) {
      attempt(() => {
        for (const piece of inPieces(viewOf(chunk, 'chunk'))) {
          const out = push(piece);
          if (out.length) controller.enqueue(out as NewBytes);
        }
      });
    },
    flush(controller) {
      attempt(() => {
        const out = finish();
        if (out.length) controller.enqueue(out as NewBytes);
        ending.end();
      });
    },
    cancel: () => ending.end(),
  } as Transformer<Bytes, NewBytes>);
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

/** Takes the keys over. */
function openBody(header: raw.Header, keys: raw.MasterKeys): raw.Body {
  try {
    return header.open(keys);
  } finally {
    keys.free();
  }
}

const SEALING = ['suite', 'chunkSize', 'context'] as const;

function newSealer(masterKeys: MasterKey | readonly MasterKey[], options: SealOptions): raw.Sealer {
  const { suite = 'aes256-gcm', chunkSize = 64 << 10, context } = options;
  const exponent = typeof chunkSize === 'number' ? Math.log2(chunkSize) : NaN;
  if (!Number.isInteger(exponent) || exponent < 12 || exponent > 24) {
    const shown = typeof chunkSize === 'number' ? chunkSize : describe(chunkSize);
    throw usage(`chunkSize: ${shown} is not a power of two from 4 KiB to 16 MiB; use a number such as 65536`);
  }
  const keys = keysOf(masterKeys, context);
  try {
    return new (wasm().Sealer)(textOf(suite, 'suite'), exponent, keys);
  } finally {
    keys.free();
  }
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

function* inPieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE);
}

function* pieces(bytes: Uint8Array, push: Push, finish: Finish): Generator<Uint8Array> {
  for (const piece of inPieces(bytes)) yield push(piece);
  yield finish();
}
