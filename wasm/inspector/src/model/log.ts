/** The log of a file.dict as a list without gaps: every byte of the file is in one of its parts. */
import type { FileDictionary, LogRecord } from 'stillkey';
import type { Rows } from './rows.js';

/** A part of the file. */
export interface Part {
  readonly offset: number;
  readonly length: number;
  readonly kind: 'header' | 'base' | 'insert' | 'remove' | 'torn' | 'damaged';
  readonly record: LogRecord | null;
}

/** Length of the header: version, reserved bytes, checksum and length of the base. */
const HEADER = 16;

/** All parts, in their order; each is made when it is looked at. */
export function partsOf(dictionary: FileDictionary, fileSize: number): Rows<Part> {
  const { verdict, version, recordCount } = dictionary;
  const end = verdict.state === 'complete' ? fileSize : verdict.at;
  const log = version === 1 ? fileSize : (dictionary.recordAt(0)?.offset ?? end);
  const before: Part[] = [{ offset: 0, length: HEADER, kind: 'header', record: null }];
  if (log > HEADER) before.push({ offset: HEADER, length: log - HEADER, kind: 'base', record: null });
  const behind: Part[] = [];
  if (verdict.state !== 'complete') behind.push({ offset: end, length: fileSize - end, kind: verdict.state === 'corrupt' ? 'damaged' : 'torn', record: null });
  return {
    length: before.length + recordCount + behind.length,
    at(index) {
      const record = dictionary.recordAt(index - before.length);
      if (record) return { offset: record.offset, length: record.length, kind: record.kind, record };
      return before[index] ?? behind[index - before.length - recordCount];
    },
  };
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
