/** The log of a file.dict as a list without gaps: every byte of the file is in one of its parts. */
import type { FileDictionary, LogRecord } from 'stillkey';

/** A part of the file. */
export interface Part {
  readonly offset: number;
  readonly length: number;
  readonly kind: 'header' | 'base' | 'insert' | 'remove' | 'torn' | 'damaged';
  readonly record: LogRecord | null;
}

/** Length of the header: version, reserved bytes, checksum and length of the base. */
const HEADER = 16;

/** All parts, in their order. */
export function partsOf({ records, verdict, version }: FileDictionary, fileSize: number): Part[] {
  const end = verdict.state === 'complete' ? fileSize : verdict.at;
  const log = version === 1 ? fileSize : (records[0]?.offset ?? end);
  const parts: Part[] = [{ offset: 0, length: HEADER, kind: 'header', record: null }];
  if (log > HEADER) parts.push({ offset: HEADER, length: log - HEADER, kind: 'base', record: null });
  for (const record of records) parts.push({ offset: record.offset, length: record.length, kind: record.kind, record });
  if (verdict.state === 'torn-tail') parts.push({ offset: end, length: fileSize - end, kind: 'torn', record: null });
  if (verdict.state === 'corrupt') parts.push({ offset: end, length: fileSize - end, kind: 'damaged', record: null });
  return parts;
}

/** What a part is called, what it is where it has no name of its own, and what its checksum says. */
export const partWords: Record<Part['kind'], { name: string; what: string; verdict: string }> = {
  header: { name: 'header', what: 'version, and checksum of the base', verdict: 'fits' },
  base: { name: 'base', what: 'all entries, as last rewritten', verdict: 'fits' },
  insert: { name: 'insert', what: '', verdict: 'fits' },
  remove: { name: 'remove', what: '', verdict: 'fits' },
  torn: { name: 'cut off', what: 'the rest of this record was never written', verdict: 'none: it is not all there' },
  damaged: { name: 'damaged', what: 'not to be trusted from here to the end', verdict: 'doesn’t fit, or can’t be found' },
};
