/** What somebody dropped or picked: files, or whole directories, each with its path. */

/** A file of this machine, not read yet. */
export interface Picked {
  /** Its path within what was picked. */
  readonly path: string;
  readonly file: File;
}

/** The part that a file plays. */
export type Role = 'key.dict' | 'file.dict' | 'data';

/** Told by the name; dictionaries that were copied aside tend to be called `old.key.dict`. */
export function roleOf(path: string): Role {
  const name = baseName(path).toLowerCase();
  if (name === 'key.dict' || /[.\-_]key\.dict$/.test(name)) return 'key.dict';
  if (name === 'file.dict' || /[.\-_]file\.dict$/.test(name)) return 'file.dict';
  return 'data';
}

/** What stands before the last slash. */
export function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
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

/** Files of one store: what one directory's dictionaries speak of. */
export interface Group {
  /** The directory of its dictionaries; empty for files that were picked one by one. */
  readonly folder: string;
  readonly keyDicts: readonly Picked[];
  readonly fileDicts: readonly Picked[];
  readonly data: readonly Picked[];
}

/**
 * Sorts files out by store. Each directory with dictionaries of its own is one, with all files below it that belong to no deeper one; what
 * lies beside all of them belongs to the highest.
 */
export function groupsOf(files: readonly Picked[]): Group[] {
  const depth = (folder: string) => (folder ? folder.split('/').length : 0);
  const holds = new Map<string, Set<Role>>();
  for (const { path } of files) {
    const role = roleOf(path);
    if (role === 'data') continue;
    const folder = folderOf(path);
    holds.set(folder, (holds.get(folder) ?? new Set()).add(role));
  }
  // The two may lie apart, which is seen where neither has its counterpart.
  const [one, other] = [...holds.values()];
  const isSplit = holds.size === 2 && one?.size === 1 && other?.size === 1 && [...one][0] !== [...other][0];
  const folders = [...holds.keys()].sort((a, b) => depth(a) - depth(b) || (a < b ? -1 : 1));
  if (folders.length < 2 || isSplit) return files.length ? [groupOf(folders[0] ?? '', files)] : [];
  const byFolder = new Map(folders.map((folder) => [folder, [] as Picked[]]));
  for (const file of files) {
    let folder = folderOf(file.path);
    while (folder && !byFolder.has(folder)) folder = folderOf(folder);
    (byFolder.get(folder) ?? byFolder.get(folders[0] ?? ''))?.push(file);
  }
  return folders.map((folder) => groupOf(folder, byFolder.get(folder) ?? []));
}

function groupOf(folder: string, files: readonly Picked[]): Group {
  const of = (role: Role) => files.filter(({ path }) => roleOf(path) === role);
  return { folder, keyDicts: of('key.dict'), fileDicts: of('file.dict'), data: of('data') };
}

/** What stands before `key.dict` or `file.dict` in a name: dictionaries that were copied aside together have the same. */
export function asideOf(path: string): string {
  return baseName(path).toLowerCase().replace(/(key|file)\.dict$/, '');
}

/** The dictionaries to begin with: two that belong together, else those with the plainest name. */
export function pairOf({ keyDicts, fileDicts }: Group): readonly [Picked | null, Picked | null] {
  const plainest = (a: Picked, b: Picked) => asideOf(a.path).length - asideOf(b.path).length;
  const [keys, files] = [[...keyDicts].sort(plainest), [...fileDicts].sort(plainest)];
  for (const file of files) {
    const key = keys.find(({ path }) => asideOf(path) === asideOf(file.path));
    if (key) return [key, file];
  }
  // Where there is only one of each, they are what was meant; of several, only somebody who knows can choose.
  if (keys.length < 2 && files.length < 2) return [keys[0] ?? null, files[0] ?? null];
  return files.length ? [null, files[0] ?? null] : [keys[0] ?? null, null];
}
