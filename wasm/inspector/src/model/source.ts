/** Content that can be read at any offset, whatever is done to get at it; nothing is read before it is asked for. */
import { decryptBlob, type FileEntry, ivForTiflashFile, type KeyDictionary, readAll, SealedObject } from 'stillkey';
import { HEAD, type Sample, TAIL } from './formats.js';

/** A file, as it lies on disk or decrypted. */
export interface Source {
  readonly size: number;
  /** The bytes of a range, which ends at `size` at the latest. */
  read(from: number, to: number): Promise<Uint8Array>;
  /** All bytes. */
  stream(): ReadableStream<Uint8Array>;
  /** Where a byte of the content stands on disk. */
  onDisk(offset: number): number;
  free(): void;
}

/** Bytes as they are. */
export function plainSource(blob: Blob): Source {
  return {
    size: blob.size,
    read: async (from, to) => new Uint8Array(await blob.slice(from, to).arrayBuffer()),
    stream: () => blob.stream(),
    onDisk: (offset) => offset,
    free() {},
  };
}

/** A file under an entry; `tiflashName` where the entry is of a group of TiFlash's page files. */
export function decryptedSource(blob: Blob, keys: KeyDictionary, stored: FileEntry, tiflashName: string): Source {
  const entry = tiflashName ? { ...stored, iv: ivForTiflashFile(stored.iv, tiflashName) } : stored;
  // What doesn't fit together shall be said now, not at the first read.
  keys.dataKey(entry.keyId, entry.methodNumber)?.free();
  return {
    size: blob.size,
    read: (start, end) => readAll(decryptBlob(blob, { keys, entry }, { start, end })),
    stream: () => decryptBlob(blob, { keys, entry }),
    onDisk: (offset) => offset,
    free() {},
  };
}

/** An opened sealed object. */
export function sealedSource(object: SealedObject): Source {
  const { length, chunkSize } = object.header;
  return {
    size: object.plaintextLength,
    read: (from, to) => object.read(from, to),
    stream: () => object.stream(),
    // Each chunk is followed by its tag of 16 bytes.
    onDisk: (offset) => length + offset + (chunkSize === null ? 0 : Math.floor(offset / chunkSize) * 16),
    free: () => object.free(),
  };
}

/** What detection looks at. */
export async function sampleOf(source: Source): Promise<Sample> {
  const { size } = source;
  const [head, tail] = await Promise.all([source.read(0, Math.min(size, HEAD)), source.read(Math.max(0, size - TAIL), size)]);
  return { head, tail, size };
}

/** How much is read at once when searching, in bytes. */
const STEP = 4 << 20;

/** Looks for `pattern` from `from` on; `null` if it isn't there. `onStep` is told how far it has come. */
export async function search(
  source: Source,
  pattern: Uint8Array,
  from: number,
  find: (bytes: Uint8Array, pattern: Uint8Array) => number,
  signal: AbortSignal,
  onStep: (at: number) => void,
): Promise<number | null> {
  for (let at = from; at < source.size; at += STEP) {
    signal.throwIfAborted();
    if (at > from) onStep(at);
    // The pattern may stand across the border between two pieces.
    const piece = await source.read(at, Math.min(source.size, at + STEP + pattern.length - 1));
    const found = find(piece, pattern);
    if (found >= 0) return at + found;
  }
  return null;
}
