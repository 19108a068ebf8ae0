/** Names as they can be looked at. They come from a damaged or hostile dictionary, and may hold anything. */
import { t } from './text.js';

/** Controls, what turns the direction of text around, what can't be seen, and blanks that only look like one. */
const hidden = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}|^\p{M}|(?<=\p{M}{4})\p{M}|^ | $/gu;

/** Longer than this, a name is shortened in the middle. */
export const LONGEST = 160;

/** A piece of a name: text, or the number of a character that can't be shown. */
export interface Piece {
  readonly text: string;
  readonly isEscape: boolean;
}

/** A name, shortened unless it is to be seen whole. */
export function piecesOf(name: string, whole = false): Piece[] {
  if (name === '') return [{ text: t('(a name without a character)'), isEscape: true }];
  const characters = Array.from(name.slice(0, whole ? undefined : 4 * LONGEST));
  const isLong = !whole && (name.length > 4 * LONGEST || characters.length > LONGEST);
  const start = isLong ? characters.slice(0, LONGEST / 2).join('') : name;
  const end = isLong ? Array.from(name.slice(-4 * LONGEST)).slice(-LONGEST / 2).join('') : '';
  if (!isLong) return escapes(start);
  return [...escapes(start), { text: ` … ${t('{n|character|characters} in all', { n: name.length })} … `, isEscape: true }, ...escapes(end)];
}

function escapes(text: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const { 0: character, index } of text.matchAll(hidden)) {
    if (index > at) pieces.push({ text: text.slice(at, index), isEscape: false });
    pieces.push({ text: escapeOf(character), isEscape: true });
    at = index + character.length;
  }
  if (at < text.length) pieces.push({ text: text.slice(at), isEscape: false });
  return pieces;
}

function escapeOf(character: string): string {
  const short: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\0': '\\0', ' ': '\\x20' };
  return short[character] ?? `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

/** A name in one line of text, for messages and attributes. */
export function shown(name: string): string {
  return piecesOf(name).map(({ text }) => text).join('');
}

/** A name that a file of the system can have. */
export function asFileName(name: string): string {
  const safe = name.replace(hidden, '_').replace(/[/\\:*?"<>|]/g, '_').slice(-100);
  return /^\.*$/.test(safe) ? 'file' : safe;
}
