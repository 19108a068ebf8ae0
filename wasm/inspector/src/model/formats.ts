/**
 * What bytes are, as far as they show it. A known format in decrypted bytes proves key and initialization vector; noise proves nothing,
 * since compressed content looks like it too.
 */
import { crc32c, unmasked } from './crc32.js';
import { type Said, say } from './text.js';

/** What was recognised. */
export interface Format {
  readonly name: string;
  /** What it was recognised by. */
  readonly by: Said;
  /** Whether a wrong key could not have made this up, but by an absurd chance. */
  readonly sure: boolean;
}

/** The parts of some content that detection looks at. */
export interface Sample {
  /** The first bytes, up to 64 KiB. */
  readonly head: Uint8Array;
  /** The last bytes, up to 64. */
  readonly tail: Uint8Array;
  /** Length of the whole. */
  readonly size: number;
}

/** How many bytes of the start {@link Sample} wants. */
export const HEAD = 64 << 10;

/** How many bytes of the end. */
export const TAIL = 64;

const ascii = (text: string) => Array.from(text, (character) => character.charCodeAt(0));

/** Recognised by how the content starts. */
const starts: readonly (readonly [string, readonly number[], Said])[] = [
  ['Stillkey sealed object', [0x89, 0x53, 0x54, 0x4b, 0x0d, 0x0a, 0x1a, 0x0a], say('its first eight bytes')],
  ['raft-engine log', ascii('RAFT-LOG-FILE-HEADER-'), say('its header')],
  ['Zstandard frame', [0x28, 0xb5, 0x2f, 0xfd], say('the magic 28 b5 2f fd')],
  ['LZ4 frame', [0x04, 0x22, 0x4d, 0x18], say('the magic 04 22 4d 18')],
  ['Snappy stream', [0xff, 0x06, 0x00, 0x00, 0x73, 0x4e, 0x61, 0x50, 0x70, 0x59], say('the magic sNaPpY')],
  ['Titan blob file', [0x14, 0xa6, 0xe0, 0x2b], say('the magic 0x2be0a614')],
  ['ZIP archive', [0x50, 0x4b, 0x03, 0x04], say('the magic PK')],
  ['ELF program', [0x7f, 0x45, 0x4c, 0x46], say('the magic ELF')],
  ['SQLite database', ascii('SQLite format 3\0'), say('its header')],
  ['PNG image', [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], say('its first eight bytes')],
  ['PDF document', ascii('%PDF-'), say('its header')],
];

/** The last eight bytes of a RocksDB table. */
const tables: readonly (readonly [string, readonly number[]])[] = [
  ['RocksDB SST, block-based table', [0xf7, 0xcf, 0xf4, 0x85, 0xb7, 0x41, 0xe2, 0x88]],
  ['RocksDB SST, block-based table of the first version', [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb]],
  ['RocksDB SST, plain table', [0x94, 0x65, 0xbf, 0x63, 0x96, 0x22, 0x42, 0x82]],
  ['RocksDB SST, cuckoo table', [0x73, 0x18, 0x5f, 0xc5, 0xd0, 0x89, 0x67, 0x92]],
];

/** What the content is; `null` when it is nothing that is known here. */
export function detect({ head, tail, size }: Sample): Format | null {
  if (size === 0) return null;
  const table = tables.find(([, magic]) => endsWith(tail, magic));
  if (table) return { name: table[0], by: say('the magic of its footer'), sure: true };
  if (size >= 12 && startsWith(head, ascii('PAR1'))) {
    const whole = endsWith(tail, ascii('PAR1'));
    return { name: whole ? 'Parquet' : 'Parquet, cut off', by: whole ? say('PAR1 at both ends') : say('PAR1 at the start, but not at the end'), sure: whole };
  }
  for (const [name, magic, by] of starts) {
    if (startsWith(head, magic)) return { name, by, sure: magic.length >= 8 };
  }
  if (startsWith(head, [0x1f, 0x8b, 0x08]) && ((head[3] ?? 0xff) & 0xe0) === 0) return { name: 'gzip', by: say('the magic 1f 8b 08'), sure: false };
  return rocksdbLog(head) ?? zeros(head) ?? text(head, size);
}

/** A log of RocksDB (WAL or MANIFEST): records in blocks of 32 KiB, each with a masked CRC-32C. */
function rocksdbLog(head: Uint8Array): Format | null {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  let at = 0;
  let records = 0;
  while (records < 4 && at + 7 <= head.length) {
    const length = view.getUint16(at + 4, true);
    const kind = head[at + 6] ?? 0;
    if (kind < 1 || kind > 8) break;
    const end = at + (kind >= 5 ? 11 : 7) + length;
    if (end > head.length || end > (Math.floor(at / 32768) + 1) * 32768) break;
    if (unmasked(view.getUint32(at, true)) !== crc32c(head.subarray(at + 6, end))) break;
    records++;
    at = end;
  }
  if (!records) return null;
  return { name: 'RocksDB log (WAL or MANIFEST)', by: say('the checksums of its first {n|record|records}', { n: records }), sure: true };
}

function zeros(head: Uint8Array): Format | null {
  if (head.length < 8 || head.some((byte) => byte !== 0)) return null;
  return { name: 'zeros', by: say('its first {n|byte|bytes} being zero', { n: head.length }), sure: head.length >= 16 };
}

function text(head: Uint8Array, size: number): Format | null {
  const content = decode(head, head.length === size);
  // Anything that short may be text by chance.
  if (content === null || size < 4) return null;
  const sure = head.length >= 24;
  const trimmed = content.trimStart();
  if (/^[[{]/.test(trimmed)) {
    if (head.length === size && isJson(content)) return { name: 'JSON', by: say('its parsing'), sure: true };
    if (/^(\{\s*"|\[\s*[[{"\d\]-])/.test(trimmed)) return { name: 'JSON', by: say('its beginning'), sure };
  }
  const n = head.length;
  const byWhat = n === size ? say('all {n|byte|bytes} being printable UTF-8', { n }) : say('the first {n|byte|bytes} being printable UTF-8', { n });
  return { name: /^[\x00-\x7f]*$/.test(content) ? 'ASCII text' : 'UTF-8 text', by: byWhat, sure };
}

/** Printable text, or `null`. */
function decode(bytes: Uint8Array, isWhole: boolean): string | null {
  try {
    // A piece may end inside a character, which `stream` allows.
    const content = new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: !isWhole });
    return /[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]/.test(content) ? null : content;
  } catch {
    return null;
  }
}

function isJson(content: string): boolean {
  try {
    JSON.parse(content);
    return true;
  } catch {
    return false;
  }
}

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return bytes.length >= magic.length && magic.every((byte, at) => bytes[at] === byte);
}

function endsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return bytes.length >= magic.length && startsWith(bytes.subarray(bytes.length - magic.length), magic);
}

/**
 * Whether bytes are spread as evenly as ciphertext is: Pearson's chi-squared test over nibbles, of which few bytes give enough. Noise fails
 * it about once in a million times. `null` for fewer than 32 bytes, which tell nothing.
 */
export function looksRandom(bytes: Uint8Array): boolean | null {
  if (bytes.length < 32) return null;
  const counts = new Float64Array(16);
  for (const byte of bytes) {
    counts[byte >> 4]! += 1;
    counts[byte & 15]! += 1;
  }
  const expected = bytes.length / 8;
  let chiSquared = 0;
  for (const found of counts) chiSquared += (found - expected) ** 2 / expected;
  return chiSquared < 56;
}
