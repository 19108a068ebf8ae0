/** Files as streams: through a `TransformStream`, or read lazily from a `Blob` of any size. */
import { type Bytes, concatenated, copyOf, offsetOf, optionsOf, type Position, u64, viewOf } from './arguments.js';
import { type AbortOptions, CtrStream } from './ctr-stream.js';
import { asStillkeyError, guarded, type StillkeyError, usage } from './errors.js';
import type { FileEntry } from './file-dictionary.js';
import { describe, rawOf } from './handle.js';
import { KeyDictionary } from './key-dictionary.js';
import type { NewBytes } from './types.js';

/** What is read from a `Blob` at once, in bytes. */
const READ = 1 << 20;

/**
 * How a file is encrypted: a stream, or its entry with the keys that the entry refers to. A plaintext file's entry is fine too: its bytes
 * pass as they are.
 */
export type FileInfo = CtrStream | { readonly keys: KeyDictionary; readonly entry: FileEntry };

/** Options of {@link encryptStream} and {@link decryptStream}. */
export interface StreamOptions extends AbortOptions {
  /** Where the first byte stands in the file. Default: 0. */
  offset?: Position;
}

/** Options of {@link decryptBlob}. */
export interface BlobOptions extends AbortOptions {
  /** The first byte wanted; from the size on, there is none. Default: 0. */
  start?: Position;
  /** The byte behind the last one wanted. Default: the size of the `Blob`; what lies behind that is left out. */
  end?: Position;
}

/**
 * A stream that encrypts what passes through it. The chunks' own bytes stay as they are.
 *
 * @throws {@link StillkeyError} as {@link KeyDictionary.dataKey}. Inside the stream, the reason of `signal`.
 */
export function encryptStream(info: FileInfo, options?: StreamOptions): TransformStream<Bytes, NewBytes> {
  const { offset = 0, signal } = guarded(() => optionsOf(options, ['offset', 'signal']));
  const cipher = guarded(() => new FileCipher(info));
  let at = guarded(() => u64(offset, 'offset'));
  const ending = new Ending(signal, cipher);
  return new TransformStream({
    start: (controller) => ending.watch(controller),
    async transform(chunk, controller) {
      try {
        const bytes = guarded(() => viewOf(chunk, 'chunk'));
        guarded(() => offsetOf(at, bytes.length));
        controller.enqueue(await cipher.apply(at, bytes, signal));
        at += BigInt(bytes.length);
      } catch (error) {
        ending.end();
        throw error;
      }
    },
    flush: () => ending.end(),
    // Where it isn't called yet, the handle goes with the garbage.
    cancel: () => ending.end(),
  } as Transformer<Bytes, NewBytes>);
}

/** A stream that decrypts what passes through it: the same as {@link encryptStream}, as counter mode is. */
export function decryptStream(info: FileInfo, options?: StreamOptions): TransformStream<Bytes, NewBytes> {
  return encryptStream(info, options);
}

/**
 * The plaintext of a `Blob` or `File`, or of a part of it, read as it is asked for: memory doesn't grow with the size.
 *
 * Where the host has byte streams, as all but Safari have, it is one: `getReader({ mode: 'byob' })` reads into a buffer of the caller's, so
 * that nothing is allocated. {@link readAll} has it in one piece.
 *
 * @param info How the file is encrypted.
 * @throws {@link StillkeyError} as {@link KeyDictionary.dataKey}; `usage` for a range that can't be. Inside the stream, `usage`
 * (`unavailable`) when the `Blob` can't be read, and the reason of `signal`.
 */
export function decryptBlob(blob: Blob, info: FileInfo, options?: BlobOptions): ReadableStream<NewBytes> {
  const { start = 0, end, signal } = guarded(() => optionsOf(options, ['start', 'end', 'signal']));
  const range = guarded(() => rangeOf(blobOf(blob).size, start, end));
  const cipher = guarded(() => new FileCipher(info));
  const source = new BlobReader(blob, range);
  const ending = new Ending(signal, {
    free() {
      cipher.free();
      source.free();
    },
  });
  return lazily(range, READ, ending, async (from, piece) => {
    await source.fill(piece);
    signal?.throwIfAborted();
    cipher.applyInPlace(BigInt(from), piece);
  });
}

/**
 * The bytes of a range of a `Blob`, one piece after the other, through one buffer where the host can: browsers let more than 100 MiB come
 * together of buffers that they have made and nobody needs any more.
 */
class BlobReader {
  readonly #blob: Blob;
  readonly #reader: ReadableStreamBYOBReader | undefined;
  #at: number;
  #buffer: ArrayBuffer | undefined;

  constructor(blob: Blob, [start, end]: readonly [number, number]) {
    this.#blob = blob;
    this.#at = start;
    if (!hasByteStreams()) return;
    try {
      this.#reader = blob.slice(start, end).stream().getReader({ mode: 'byob' });
    } catch {
      // A host may have byte streams, and none of a Blob.
    }
  }

  /** Fills `piece` with the bytes that come next. */
  async fill(piece: Uint8Array): Promise<void> {
    const from = this.#at;
    this.#at += piece.length;
    if (!this.#reader) return piece.set(await readBlob(this.#blob, from, this.#at));
    for (let filled = 0; filled < piece.length; ) {
      const value = await this.#read(this.#reader, Math.min(READ, piece.length - filled)).catch((error: unknown) => {
        throw unreadable(from, this.#at, asStillkeyError(error).message, error);
      });
      if (!value?.length) throw unreadable(from, this.#at, 'it ends before; the file may have changed');
      piece.set(value, filled);
      filled += value.length;
    }
  }

  async #read(reader: ReadableStreamBYOBReader, length: number): Promise<Uint8Array | undefined> {
    const { value } = await reader.read(new Uint8Array(this.#buffer ?? new ArrayBuffer(READ), 0, length));
    this.#buffer = value?.buffer;
    return value;
  }

  free(): void {
    this.#reader?.cancel().catch(() => {});
  }
}

/**
 * All bytes of a stream, in one piece. Unlike `new Response(stream)`, which browsers let fail with an error of their own, it fails with what
 * ended the stream.
 */
export async function readAll(stream: ReadableStream<Uint8Array>): Promise<NewBytes> {
  const reader = guarded(() => {
    if (!(stream instanceof ReadableStream)) throw usage(`stream: a ReadableStream is needed, not ${describe(stream)}`);
    return stream.getReader();
  });
  const parts: Uint8Array[] = [];
  for (let next = await reader.read(); !next.done; next = await reader.read()) parts.push(copyOf(next.value, 'chunk'));
  return guarded(() => concatenated(parts));
}

/** What encrypts a file. */
class FileCipher {
  readonly #stream: CtrStream | null;
  readonly #isOwn: boolean = false;

  constructor(info: FileInfo) {
    if (info instanceof CtrStream) {
      rawOf(info, CtrStream);
      this.#stream = info;
      return;
    }
    const { keys, entry } = (info ?? {}) as Partial<Exclude<FileInfo, CtrStream>>;
    if (!(keys instanceof KeyDictionary) || typeof entry !== 'object' || entry === null) {
      throw usage(`info: a CtrStream, or { keys: KeyDictionary, entry: FileEntry } is needed, not ${describe(info)}`);
    }
    const key = keys.dataKey(entry.keyId, entry.methodNumber);
    try {
      this.#stream = key && new CtrStream(key, entry.iv);
    } finally {
      key?.free();
    }
    this.#isOwn = true;
  }

  applyInPlace(offset: bigint, bytes: Uint8Array): void {
    this.#stream?.applyAt(offset, bytes);
  }

  /** Always a new array. */
  async apply(offset: bigint, bytes: Uint8Array, signal: AbortSignal | undefined): Promise<NewBytes> {
    if (this.#stream) return this.#stream.applyAtAsync(offset, bytes, { signal });
    signal?.throwIfAborted();
    return copyOf(bytes, 'chunk');
  }

  free(): void {
    if (this.#isOwn) this.#stream?.free();
  }
}

/** @internal Ends a stream once: by itself, or when it is aborted. */
export class Ending {
  readonly #signal: AbortSignal | undefined;
  readonly #content: { free(): void } | undefined;
  #unwatch: (() => void) | undefined;

  constructor(signal: AbortSignal | undefined, content?: { free(): void }) {
    this.#signal = signal;
    this.#content = content;
  }

  watch(controller: { error(reason: unknown): void }): void {
    const signal = this.#signal;
    if (!signal) return;
    const abort = () => {
      controller.error(signal.reason);
      this.end();
    };
    if (signal.aborted) abort();
    else this.#unwatch = whenAborted(signal, abort);
  }

  end(): void {
    this.#unwatch?.();
    this.#content?.free();
  }
}

const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `work` when `signal` is aborted, unless the function that this returns was called before.
 * One listener serves all streams of a signal: Node.js warns of more than ten.
 */
function whenAborted(signal: AbortSignal, work: () => void): () => void {
  const works = waiting.get(signal) ?? new Set();
  if (!waiting.has(signal)) {
    waiting.set(signal, works);
    signal.addEventListener('abort', () => works.forEach((work) => work()), { once: true });
  }
  works.add(work);
  return () => void works.delete(work);
}

/**
 * @internal A stream of the bytes of a range, piece by piece, each when it is asked for. Pieces end at multiples of `size`, or where the
 * reader's own buffer does. `fill` writes the bytes that stand at `from`.
 */
export function lazily(
  [start, end]: readonly [number, number],
  size: number,
  ending: Ending,
  fill: (from: number, piece: NewBytes) => Promise<void>,
): ReadableStream<NewBytes> {
  let at = start;
  let ended = false;
  const finish = (controller: Controller, request: ReadableStreamBYOBRequest | null) => {
    ended = true;
    ending.end();
    controller.close();
    // A reader that waits with a buffer gets it back.
    request?.respond(0);
  };
  const source = {
    start: (controller: Controller) => ending.watch(controller),
    async pull(controller: Controller) {
      const requested = () => ('byobRequest' in controller ? controller.byobRequest : null);
      try {
        if (at >= end) return finish(controller, requested());
        const request = requested();
        const view = request?.view;
        const length = Math.min(end, (Math.floor(at / size) + 1) * size) - at;
        const piece = view
          ? new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, Math.min(view.byteLength, length))
          : guarded(() => new Uint8Array(length));
        await fill(at, piece);
        if (ended) return;
        at += piece.length;
        if (request) request.respond(piece.length);
        else controller.enqueue(piece);
        if (at >= end) finish(controller, requested());
      } catch (error) {
        ended = true;
        ending.end();
        throw error;
      }
    },
    cancel() {
      ended = true;
      ending.end();
    },
  };
  const nothingAhead = { highWaterMark: 0 };
  return hasByteStreams() ? new ReadableStream({ type: 'bytes', ...source }, nothingAhead) : new ReadableStream(source, nothingAhead);
}

type Controller = ReadableByteStreamController | ReadableStreamDefaultController<NewBytes>;

/** Whether streams can read into a buffer of the reader's. Safari's can't. */
function hasByteStreams(): boolean {
  try {
    new ReadableStream({ type: 'bytes' });
    return true;
  } catch {
    return false;
  }
}

/** @internal The range within `size` bytes, whose end is cut off to `size`. */
export function rangeOf(size: number, start: Position = 0, end?: Position): readonly [number, number] {
  const from = u64(start, 'start');
  const to = end === undefined ? from > size ? from : BigInt(size) : u64(end, 'end');
  if (from > to) throw usage(`the range starts at ${from} and ends before, at ${to}`);
  const within = (position: bigint) => (position > BigInt(size) ? size : Number(position));
  return [within(from), within(to)];
}

/** @internal */
export function blobOf(blob: Blob): Blob {
  if (!(blob instanceof Blob)) throw usage(`blob: a Blob or File is needed, not ${describe(blob)}`);
  return blob;
}

/** @internal The bytes of a range of a `Blob`. */
export async function readBlob(blob: Blob, from: number, to: number): Promise<NewBytes> {
  let bytes: NewBytes;
  try {
    bytes = new Uint8Array(await blob.slice(from, to).arrayBuffer());
  } catch (error) {
    throw unreadable(from, to, asStillkeyError(error).message, error);
  }
  if (bytes.length !== to - from) throw unreadable(from, to, `there were ${bytes.length}; the file may have changed`);
  return bytes;
}

function unreadable(from: number, to: number, why: string, cause?: unknown): StillkeyError {
  return usage(`bytes ${from} to ${to} could not be read: ${why}`, 'unavailable', cause);
}
