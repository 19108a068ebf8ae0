/** What the page says, in the reader's language. English stands where it is said; `zh.ts` has the rest. */
import { zh } from './zh.js';

export const languages = { en: 'English', zh: '中文' } as const;
export type Language = keyof typeof languages;

/** What goes into a text: a number is grouped, and another text is translated too. */
export type Value = string | number | bigint | Said;

/** A text that isn't in any language yet: what was said before the language changed changes with it. */
export interface Said {
  readonly english: string;
  readonly values: Readonly<Record<string, Value>>;
}

let language: Language = 'en';

/** The language of what is said from now on. */
export function speak(chosen: Language): void {
  language = chosen;
}

/** The language that is spoken. */
export function spoken(): Language {
  return language;
}

/** The best of those that a browser asks for. */
export function preferred(asked: readonly string[]): Language {
  const known = asked.map((tag) => tag.toLowerCase().split('-')[0] ?? '').find((tag) => tag in languages);
  return (known as Language | undefined) ?? 'en';
}

/** A text to be shown later. `{name}` is a value; `{n|file|files}` is a number with the word that goes with it. */
export function say(english: string, values: Said['values'] = {}): Said {
  return { english, values };
}

/** What was said, as it is read. */
export function read({ english, values }: Said): string {
  const text = language === 'zh' ? (zh[english] ?? english) : english;
  return text.replace(/\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g, (whole, name: string, one?: string, many?: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    if (typeof value === 'object') return read(value);
    const shown = typeof value === 'string' ? value : grouped(value);
    return one === undefined ? shown : `${shown} ${Number(value) === 1 ? one : many}`;
  });
}

/** A text at once. */
export function t(english: string, values: Said['values'] = {}): string {
  return read({ english, values });
}

/** `1 234 567`, with thin gaps that survive copying as plain spaces do. */
export function grouped(value: number | bigint): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}
