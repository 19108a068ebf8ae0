/** What somebody dropped or picked: files, or whole directories, each with its path. */

/** A file of this machine, not read yet. */
export interface Picked {
  /** Its path within what was picked. */
  readonly path: string;
  readonly file: File;
}

/** The part that a file plays. */
export type Role = 'key.dict' | 'file.dict' | 'master-key' | 'data';

/** Told by the name; dictionaries that were copied aside tend to be called `old.key.dict`. */
export function roleOf(path: string): Role {
  const name = baseName(path).toLowerCase();
  if (name === 'key.dict' || /[.\-_]key\.dict$/.test(name)) return 'key.dict';
  if (name === 'file.dict' || /[.\-_]file\.dict$/.test(name)) return 'file.dict';
  return 'data';
}

/** What stands behind the last slash. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Of an input element. */
export function fromInput(files: FileList | null): Picked[] {
  return Array.from(files ?? [], (file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/** More files than this are left out, and the page says so. */
export const MOST_FILES = 200_000;

/** Of a drop: directories are walked through. The entries have to be taken at once, before the event is over. */
export async function fromDrop(transfer: DataTransfer): Promise<Picked[]> {
  const entries = Array.from(transfer.items, (item) => (item.kind === 'file' ? item.webkitGetAsEntry() : null));
  if (entries.every((entry) => entry === null)) return fromInput(transfer.files);
  const found: Picked[] = [];
  for (const entry of entries) if (entry) await walk(entry, found);
  return found;
}

async function walk(entry: FileSystemEntry, found: Picked[]): Promise<void> {
  if (found.length >= MOST_FILES) return;
  const path = entry.fullPath.replace(/^\//, '');
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    found.push({ path, file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  // A reader gives at most a hundred at once, and none when it is done.
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const child of some) await walk(child, found);
  }
}
