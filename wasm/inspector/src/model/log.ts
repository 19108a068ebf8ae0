/** The log of a file.dict as a list without gaps: every byte of the file is in one of its parts. */
import type { FileDictionary, LogRecord, LostPart } from 'stillkey';
import { crc32 } from './crc32.js';
import type { LogFacts } from './findings.js';
import type { Rows } from './rows.js';
import { type Said, say } from './text.js';

/** A part of the file. */
export interface Part {
  readonly offset: number;
  readonly length: number;
  readonly kind: 'header' | 'base' | 'insert' | 'remove' | 'torn' | 'damaged' | 'lost';
  readonly record: LogRecord | null;
  /** Whether it stands behind the place up to which the log is whole. */
  readonly isBehind: boolean;
  /** What can be made out of a lost record's name. */
  readonly lostName: string | null;
}

/** Length of the header: version, reserved bytes, checksum and length of the base. */
const HEADER = 16;

/** What was found behind damage: whole records, and what is lost between them. */
export interface Behind {
  readonly dictionary: FileDictionary;
  readonly lost: readonly LostPart[];
}

/** All parts, in their order; each is made when it is looked at. */
export function partsOf(dictionary: FileDictionary, { verdict, size }: Pick<LogFacts, 'verdict' | 'size'>, salvaged: Behind | null): Rows<Part> {
  const { version, recordCount } = dictionary;
  const end = verdict.state === 'complete' ? size : verdict.at;
  const log = version === 1 ? size : (dictionary.recordAt(0)?.offset ?? end);
  const plain = { record: null, isBehind: false, lostName: null };
  const before: Part[] = [{ ...plain, offset: 0, length: HEADER, kind: 'header' }];
  if (log > HEADER) before.push({ ...plain, offset: HEADER, length: log - HEADER, kind: 'base' });
  const behind = verdict.state === 'complete' ? [] : behindOf(end, size, verdict.state === 'corrupt', salvaged);
  return {
    length: before.length + recordCount + behind.length,
    at(index) {
      const record = dictionary.recordAt(index - before.length);
      if (record) return { ...plain, offset: record.offset, length: record.length, kind: record.kind, record };
      return before[index] ?? behind[index - before.length - recordCount];
    },
  };
}

function behindOf(end: number, size: number, isDamaged: boolean, salvaged: Behind | null): Part[] {
  const plain = { record: null, isBehind: true, lostName: null };
  const parts: Part[] = [];
  for (const { offset, length, name } of salvaged?.lost ?? []) {
    if (offset >= end) parts.push({ ...plain, offset, length: Math.min(length, size - offset), kind: 'lost', lostName: name });
  }
  const dictionary = salvaged?.dictionary;
  for (let at = (dictionary?.recordCount ?? 0) - 1; at >= 0; at--) {
    const record = dictionary?.recordAt(at);
    if (!record || record.offset < end) break;
    parts.push({ ...plain, offset: record.offset, length: record.length, kind: record.kind, record });
  }
  parts.sort((a, b) => a.offset - b.offset);
  const [first] = parts;
  const kind = isDamaged ? 'damaged' : 'torn';
  // A whole record may be where the log breaks: one that removes what isn't there.
  if (first?.kind === 'lost' && first.offset === end) parts[0] = { ...first, kind, isBehind: false };
  else if (first?.offset === end) parts[0] = { ...first, kind, isBehind: false };
  else parts.unshift({ ...plain, offset: end, length: (first?.offset ?? size) - end, kind, isBehind: false });
  return parts;
}

/** What a part is called, and what it is where it has no name of its own. */
export const partWords: Record<Part['kind'], { name: Said; what: Said }> = {
  header: { name: say('header'), what: say('version, and checksum of the base') },
  base: { name: say('base'), what: say('all entries, as last rewritten') },
  insert: { name: say('insert'), what: say('') },
  remove: { name: say('remove'), what: say('') },
  torn: { name: say('not whole'), what: say('the last record') },
  damaged: { name: say('damaged'), what: say('here the log breaks') },
  lost: { name: say('lost'), what: say('nothing whole can be found here') },
};

/** A record as its bytes say it is, whether or not they are to be believed. */
export interface RawRecord {
  readonly stored: number;
  /** Over the name and the entry; `null` where the record reaches past the end. */
  readonly computed: number | null;
  readonly type: number;
  readonly nameLength: number;
  readonly infoLength: number;
}

/** Bytes of a record before its name: checksum, two lengths, type. */
export const RECORD_HEADER = 9;

/** The most that a record can have. */
export const MOST_RECORD = RECORD_HEADER + 2 * 65_535;

/** What the bytes of a record say; `null` where there are too few for its own header. */
export function rawRecord(bytes: Uint8Array): RawRecord | null {
  if (bytes.length < RECORD_HEADER) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [nameLength, infoLength] = [view.getUint16(4), view.getUint16(6)];
  const end = RECORD_HEADER + nameLength + infoLength;
  return { stored: view.getUint32(0), computed: end <= bytes.length ? crc32(bytes.subarray(RECORD_HEADER, end)) : null, type: view.getUint8(8), nameLength, infoLength };
}
