/** Files as streams: through a `TransformStream`, or read lazily from a `Blob` of any size. */
import { type Bytes, concatenated, copyOf, offsetOf, optionsOf, type Position, release, u64, viewOf } from './arguments.js';
import { aheadOf, type BackgroundCtr, type BackgroundOptions } from './background.js';
import { cipherOf, CtrStream } from './ctr-stream.js';
import { asStillkeyError, guarded, type StillkeyError, usage } from './errors.js';
import type { FileEntry } from './file-dictionary.js';
import { describe } from './handle.js';
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
export interface StreamOptions extends BackgroundOptions {
  /** Where the first byte stands in the file. Default: 0. */
  offset?: Position;
}

/** Options of {@link decryptBlob}. */
export interface BlobOptions extends BackgroundOptions {
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
  const { offset = 0, ...given } = guarded(() => optionsOf(options, ['offset', 'signal', 'worker']));
  const cipher = guarded(() => new FileCipher(info));
  let at = guarded(() => u64(offset, 'offset'));
  const ending = new Ending(given.signal, cipher);
  return new TransformStream({
    start: (controller) => ending.watch(controller),
    async transform(chunk, controller) {
      try {
        const bytes = guarded(() => viewOf(chunk, 'chunk'));
        guarded(() => offsetOf(at, bytes.length));
        controller.enqueue(await cipher.apply(at, bytes, given));
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
 * The plaintext of a `Blob` or `File`, or of a part of it, read as it is asked for: memory doesn't grow with the size. WebCrypto
 * decrypts AES-128 and AES-256, up to 4 MiB ahead of the reader; with `worker: true`, a worker the others.
 *
 * Where the host has byte streams, as all but Safari have, it is one: `getReader({ mode: 'byob' })` reads into a buffer of the caller's, so
 * that nothing is allocated. {@link readAll} has it in one piece.
 *
 * @param info How the file is encrypted.
 * @throws {@link StillkeyError} as {@link KeyDictionary.dataKey}; `usage` for a range that can't be. Inside the stream, `usage`
 * (`unavailable`) when the `Blob` can't be read, and the reason of `signal`.
 */
export function decryptBlob(blob: Blob, info: FileInfo, options?: BlobOptions): ReadableStream<NewBytes> {
  const { start = 0, end, ...given } = guarded(() => optionsOf(options, ['start', 'end', 'signal', 'worker']));
  const range = guarded(() => rangeOf(blobOf(blob).size, start, end));
  const cipher = guarded(() => new FileCipher(info));
  if (cipher.isBackground(given.worker)) {
    return lazily(range, READ, new Ending(given.signal, cipher), {
      ahead: true,
      async read(from, to) {
        const bytes = await readBlob(blob, from, to);
        const result = cipher.apply(BigInt(from), bytes, given);
        // It has been read by now.
        release(bytes);
        return result;
      },
    });
  }
  const source = new BlobReader(blob, range);
  const ending = new Ending(given.signal, {
    free() {
      cipher.free();
      source.free();
    },
  });
  const fill = async (from: number, piece: NewBytes) => {
    await source.fill(piece);
    given.signal?.throwIfAborted();
    cipher.applyInPlace(BigInt(from), piece);
  };
  const read = async (from: number, to: number) => {
    const piece = guarded(() => new Uint8Array(to - from));
    await fill(from, piece);
    return piece;
  };
  return lazily(range, READ, ending, { ahead: false, read, fill });
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
      cipherOf(info);
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

  /** Not while it isn't used: it may be freed by then. */
  get #cipher(): BackgroundCtr | null {
    return this.#stream && guarded(() => cipherOf(this.#stream as CtrStream));
  }

  isBackground(worker: boolean | undefined): boolean {
    return this.#cipher?.isBackground(worker) ?? false;
  }

  applyInPlace(offset: bigint, bytes: Uint8Array): void {
    guarded(() => this.#cipher?.applyNow(offset, bytes));
  }

  /** Always a new array. */
  async apply(offset: bigint, bytes: Uint8Array, options: BackgroundOptions): Promise<NewBytes> {
    options.signal?.throwIfAborted();
    return this.#cipher?.apply(offset, bytes, options) ?? copyOf(bytes, 'chunk');
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

  /** What a stream ends with: the reason that was given for it, or an error of this package. */
  errorOf(error: unknown): unknown {
    const { aborted, reason } = this.#signal ?? {};
    return aborted && error === reason ? error : asStillkeyError(error);
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

/** Where a stream's bytes come from. */
interface Reading {
  /** Whether pieces are read and worked on before they are asked for, some at a time. */
  readonly ahead: boolean;
  /** A piece, which doesn't cross a multiple of the stream's size. */
  read(from: number, to: number): Promise<NewBytes>;
  /** Writes the bytes that stand at `from` into the reader's own buffer. */
  fill?(from: number, piece: NewBytes): Promise<void>;
}

/**
 * @internal A stream of the bytes of a range, piece by piece, each when it is asked for. Pieces end at multiples of `size`, or where the
 * reader's own buffer does.
 */
export function lazily(
  [start, end]: readonly [number, number],
  size: number,
  ending: Ending,
  { ahead, read, fill }: Reading,
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
  const [most, running] = [ahead ? aheadOf(size) : 1, [] as Promise<NewBytes>[]];
  let asked = start;
  const askOn = () => {
    while (running.length < most && asked < end) {
      const to = Math.min(end, (Math.floor(asked / size) + 1) * size);
      const piece = read(asked, to);
      // It may fail before it is waited for.
      piece.catch(() => {});
      running.push(piece);
      asked = to;
    }
  };
  /** Of the last piece, what the reader's buffer had no room for. */
  let rest = new Uint8Array();
  const next = async (): Promise<NewBytes> => {
    if (rest.length) return rest;
    if (!running.length) askOn();
    const first = running.shift() as Promise<NewBytes>;
    if (ahead) askOn();
    return first;
  };
  /** Fills the reader's buffer, as far as there is something for it. */
  const intoBuffer = async (view: Uint8Array): Promise<number> => {
    if (fill && !ahead) {
      const piece = view.subarray(0, Math.min(end, (Math.floor(at / size) + 1) * size) - at);
      await fill(at, piece as NewBytes);
      return piece.length;
    }
    const piece = await next();
    const length = Math.min(piece.length, view.length);
    view.set(piece.subarray(0, length));
    rest = piece.subarray(length);
    if (!rest.length) release(piece);
    return length;
  };
  const source = {
    start: (controller: Controller) => ending.watch(controller),
    async pull(controller: Controller) {
      const requested = () => ('byobRequest' in controller ? controller.byobRequest : null);
      try {
        if (at >= end) return finish(controller, requested());
        const request = requested();
        const view = request?.view;
        let length: number;
        if (view) {
          length = await intoBuffer(new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength));
          if (ended) return;
          request.respond(length);
        } else {
          const piece = await next();
          if (ended) return;
          // Its memory goes with it, and the rest of a piece is in memory with what came before.
          ({ length } = piece);
          controller.enqueue(piece === rest ? piece.slice() : piece);
          rest = new Uint8Array();
        }
        at += length;
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
