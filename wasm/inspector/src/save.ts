/** Saving decrypted content: straight to disk where the browser can, so that no size is too large; else by way of a Blob. */
import { size as sizeText } from './model/bytes.js';
import { asFileName } from './model/names.js';
import { t } from './model/text.js';
import type { Source } from './model/source.js';

/** More than this in a Blob, and browsers begin to fail. */
export const MOST_IN_BLOB = 2 ** 31;

type Picker = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;

/** Whether saving ended; `false` when the dialogue was closed. Throws what went wrong. */
export async function save(source: Source, name: string, onProgress: (bytes: number) => void, signal: AbortSignal): Promise<boolean> {
  const picker = (window as { showSaveFilePicker?: Picker }).showSaveFilePicker;
  let done = 0;
  const counting = new TransformStream<Uint8Array, Uint8Array<ArrayBuffer>>({
    transform(piece, controller) {
      done += piece.length;
      onProgress(done);
      controller.enqueue(piece as Uint8Array<ArrayBuffer>);
    },
  });
  if (picker) {
    let handle: FileSystemFileHandle;
    try {
      handle = await picker.call(window, { suggestedName: asFileName(name) });
    } catch (error) {
      if (error instanceof DOMException && error.name === 'AbortError') return false;
      throw error;
    }
    await source.stream().pipeThrough(counting).pipeTo(await handle.createWritable(), { signal });
    return true;
  }
  if (source.size > MOST_IN_BLOB) {
    throw new Error(t('this browser can only save what fits in memory, at most {most}: use Chrome or Edge, or the stillkey command', { most: sizeText(MOST_IN_BLOB) }));
  }
  const parts: Blob[] = [];
  const gather = new WritableStream<Uint8Array<ArrayBuffer>>({ write: (piece) => void parts.push(new Blob([piece])) });
  await source.stream().pipeThrough(counting).pipeTo(gather, { signal });
  download(new Blob(parts), name);
  return true;
}

/** Saves what is in memory. */
export async function saveBlob(blob: Blob, name: string): Promise<void> {
  download(blob, name);
}

function download(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement('a'), { href: address, download: asFileName(name) });
  link.click();
  // The download has its own hold on the bytes once it has begun.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
