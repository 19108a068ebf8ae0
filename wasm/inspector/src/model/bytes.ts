/** Numbers and bytes as people read and write them. */
import { grouped, t } from './text.js';

export { grouped };

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Two lower-case digits. */
export function hexByte(byte: number): string {
  return HEX[byte] ?? '??';
}

/** Lower-case digits of all bytes. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, hexByte).join('');
}

/** A printable ASCII character, or a dot. */
export function asText(byte: number): string {
  return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·';
}

/** `4.0 MiB`. */
export function size(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const step = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return step === 0 ? t('{n|byte|bytes}', { n: bytes }) : `${(bytes / 1024 ** step).toFixed(1)} ${units[step]}`;
}

/** `3 days`: the largest unit that fits, of a duration in seconds. */
export function duration(seconds: number): string {
  const length = Math.abs(seconds);
  const n = (unit: number) => ({ n: Math.floor(length / unit) });
  if (length >= 86_400 * 365) return t('{n|year|years}', n(86_400 * 365));
  if (length >= 86_400) return t('{n|day|days}', n(86_400));
  if (length >= 3600) return t('{n|hour|hours}', n(3600));
  return length >= 60 ? t('{n|minute|minutes}', n(60)) : t('{n|second|seconds}', n(1));
}

/** `2026-11-22 11:49 UTC` of seconds since 1970, or the number itself where no calendar reaches. */
export function date(seconds: bigint): string {
  const time = new Date(Number(seconds) * 1000);
  return Number.isNaN(time.getTime()) ? t('{n} s after 1970', { n: String(seconds) }) : `${time.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/**
 * An offset as typed: decimal, `0x` hexadecimal, with a unit (`4 GiB`, `64k`), with gaps or underscores, and negative to count from the end.
 * `null` for anything else, and for what lies outside the file.
 */
export function parseOffset(text: string, fileSize: number): number | null {
  const match = /^(-?)(?:0x([0-9a-f]+)|(\d+)\s*(?:([kmgt])(?:i?b)?|b)?)$/i.exec(text.replace(/[_,\u202f]|(?<=\d) (?=\d)/g, '').trim());
  if (!match) return null;
  const [, minus, hex, decimal, unit] = match;
  const value = hex ? Number.parseInt(hex, 16) : Number(decimal) * 1024 ** (unit ? 'kmgt'.indexOf(unit.toLowerCase()) + 1 : 0);
  const offset = minus ? fileSize - value : value;
  return Number.isSafeInteger(offset) && offset >= 0 && offset < fileSize ? offset : null;
}

/** What to search for: pairs of hexadecimal digits, or text as UTF-8. `null` for nothing, or for half a byte. */
export function parsePattern(text: string, kind: 'hex' | 'text'): Uint8Array | null {
  if (kind === 'text') return text === '' ? null : new TextEncoder().encode(text);
  const digits = text.replace(/\s|0x/g, '');
  return /^([0-9a-f]{2})+$/i.test(digits) ? Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)) : null;
}

/** Where `pattern` first stands in `bytes` at or behind `from`; -1 if it doesn't. */
export function indexOf(bytes: Uint8Array, pattern: Uint8Array, from = 0): number {
  const first = pattern[0];
  if (first === undefined) return -1;
  for (let at = bytes.indexOf(first, from); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (at + pattern.length > bytes.length) return -1;
    let same = 1;
    while (same < pattern.length && bytes[at + same] === pattern[same]) same++;
    if (same === pattern.length) return at;
  }
  return -1;
}
