/**
 * Findings and their texts, in one table: what is said rests on what the library found, never on a verdict alone. Each row has a test that
 * makes that very damage (`test/findings.test.mjs`).
 */
import type { StillkeyError, Verdict } from 'stillkey';
import { type Said, say } from './text.js';

/** A message on the page. */
export interface Explanation {
  readonly tone: 'bad' | 'warn' | 'good' | 'info';
  readonly title: Said;
  readonly text: Said;
  /** What to try, the likeliest first. */
  readonly next?: readonly Said[];
  /** The package's own words. */
  readonly detail?: string;
}

/** What is known about a log, beyond its verdict. */
export interface LogFacts {
  readonly verdict: Verdict;
  /** How it ends in TiKV's eyes; `null` when TiKV would not read it. */
  readonly tikv: Verdict | null;
  readonly records: number;
  readonly size: number;
  /** Whether there are only zeros from where the verdict points. */
  readonly isZero: boolean;
  /** Whole records that were found behind the damage. */
  readonly behind: number;
}

type Text = Omit<Explanation, 'detail'>;

const nothing = say('');
const anotherCopy = say('If this is a copy, copy it once more: a copy made while the store was writing can end anywhere.');
const fromBackup = say('Restore file.dict from a replica’s or a backup’s copy of the same moment.');
const keepCopy = say('Keep a copy of the file as it is before anything is started on it.');
const seeSalvage = say('See what was found behind the damage in the view Log; a repaired file.dict can be saved there.');

/** How the log ends, by what was found there. */
export function explainLog(facts: LogFacts): Explanation {
  const { verdict } = facts;
  const text = logTexts[logFinding(facts)](facts);
  return verdict.state === 'corrupt' ? { ...text, detail: verdict.why } : text;
}

/** The row of {@link logTexts} that fits. */
export function logFinding({ verdict, isZero }: Pick<LogFacts, 'verdict' | 'isZero'>): keyof typeof logTexts {
  if (verdict.state === 'complete') return 'complete';
  if (isZero) return 'zeros';
  if (verdict.state === 'torn-tail') return verdict.finding === 'checksum' ? 'checksum-at-end' : 'cut-off';
  return verdict.finding in logTexts ? verdict.finding : 'other';
}

const damaged = (what: (facts: LogFacts) => Said) => (facts: LogFacts): Text => ({
  tone: 'bad',
  title: say('The log is damaged at byte {at}', { at: placeOf(facts) }),
  text: say('{what} {before} From there on, entries may be missing or out of date, and removed files may seem to be there. {behind} {start}', {
    what: what(facts),
    before: before(facts),
    behind: facts.behind ? say('Behind the damage, {n|whole record was|whole records were} found.', { n: facts.behind }) : nothing,
    start: atStart(facts),
  }),
  next: facts.behind ? [keepCopy, fromBackup, seeSalvage] : [keepCopy, fromBackup],
});

/** What was found in a log, and what is said of it. */
export const logTexts = {
  complete: ({ records }: LogFacts): Text => ({
    tone: 'good',
    title: say('The log is whole'),
    text: records === 0 ? say('It holds no record yet.') : say('{n|record|records}, each with a checksum that fits, up to the last byte.', { n: records }),
  }),
  'cut-off': (facts: LogFacts): Text => ({
    tone: 'warn',
    title: say('The last record is cut off at byte {at}', { at: placeOf(facts) }),
    text: say(
      'The file ends inside a record, of which {n|byte is|bytes are} there. A crash or a copy in the middle of a write leaves this behind: then that append was never confirmed, and nothing is lost. A file that was cut off later looks the same: then it is entries that are missing. {before} {start}',
      { n: facts.size - placeOf(facts), before: before(facts), start: atStart(facts) },
    ),
    next: [anotherCopy, say('If the store crashed just before, nothing has to be done: it drops the rest of the record when it starts.'), say('If it didn’t crash, look for files without an entry: their entries may be what is missing.')],
  }),
  'checksum-at-end': (facts: LogFacts): Text => ({
    tone: 'bad',
    title: say('The last record is all there, but its checksum doesn’t fit (byte {at})', { at: placeOf(facts) }),
    text: say(
      'Either a crash interrupted this append while the disk was writing it, and it was never confirmed; or a confirmed record has changed since, and an entry is lost. The file can’t tell which. {before} {start}',
      { before: before(facts), start: atStart(facts) },
    ),
    next: [
      keepCopy,
      say('See the record in the view Log: if the file that it names exists, its entry was probably confirmed.'),
      say('If the store didn’t crash while it was writing, suspect the disk, and restore file.dict from a copy of the same moment.'),
    ],
  }),
  zeros: (facts: LogFacts): Text => ({
    tone: facts.verdict.state === 'corrupt' ? 'bad' : 'warn',
    title: say('From byte {at} to the end there are only zeros', { at: placeOf(facts) }),
    text: say(
      '{n|zero byte follows|zero bytes follow} the last whole record. A power failure leaves zeros where the file had grown and its content had not reached the disk; then those appends were never confirmed. If they were, their entries are lost. {before} {start}',
      { n: facts.size - placeOf(facts), before: before(facts), start: atStart(facts) },
    ),
    next: [keepCopy, say('Look for files without an entry: their entries may be what stood there.'), fromBackup],
  }),
  checksum: damaged(() => say('A record is all there, and its checksum doesn’t fit: its name or its entry changed after it was written.')),
  'intact-record-inside': damaged((facts) =>
    facts.verdict.state === 'corrupt' && facts.behind === 0
      ? say('A record doesn’t end where its lengths say: they, or what they count, have changed.')
      : say('A record doesn’t end where its lengths say, although whole records follow: no torn append looks like that; its lengths or its content changed.'),
  ),
  'torn-or-damaged': damaged(() => say('A record doesn’t end where its lengths say, and too much follows that looks like records for a torn append. Not all of it was tried.')),
  'record-type-0': damaged(() => say('In the place of a record there is one of type 0, as in space that was never written.')),
  'record-type': damaged(() => say('A record is of a type that doesn’t exist. Its checksum fits, but doesn’t cover the type: that byte changed.')),
  'type-mismatch': damaged(() => say('The type of a record contradicts what it holds. No checksum covers the type: that byte changed, from insert to remove or back.')),
  'remove-of-absent': damaged(() => say('A record removes a file that has no entry. The record itself is whole: what added the entry is missing before it.')),
  protobuf: damaged(() => say('The checksum of a record fits, but its entry can’t be decoded: it was written like that, by a faulty program or by hand.')),
  'name-not-utf8': damaged(() => say('The checksum of a record fits, but its name is no text: it was written like that, by a faulty program or by hand.')),
  other: damaged(() => say('A record is not what it should be.')),
};

function placeOf({ verdict, size }: LogFacts): number {
  return verdict.state === 'complete' ? size : verdict.at;
}

function before({ records }: LogFacts): Said {
  return records === 0 ? say('No whole record stands before it.') : say('{n|record before it is|records before it are} whole.', { n: records });
}

function atStart({ tikv }: LogFacts): Said {
  if (tikv === null || tikv.state === 'corrupt') return say('TiKV would refuse to start on it.');
  if (tikv.state === 'torn-tail') return say('TiKV would start, and drop the last {n|byte|bytes}.', { n: tikv.dropped });
  return say('TiKV would start on it.');
}

const restore = say('Copy it once more from the host: a copy made while the store was writing can be cut off.');
const backup = say('If the copy is exact, restore this file from a backup of the same moment as the rest of the directory.');

/** What was found in the rest of a file, by the library's name for it; `{name}` is the file, `{at}` a place in it. */
export const damageTexts: Record<string, Said> = {
  'header short': say('It has fewer bytes than the header alone: it was cut off, or never written.'),
  'header length': say('Its header (bytes 8 to 15) says how much content follows, and the file has another length: it was cut off or extended, or the header changed.'),
  'header checksum': say('The checksum in the header (bytes 4 to 7) doesn’t fit the content, which starts at byte 16. Which of these bytes changed can’t be told.'),
  'content protobuf': say('The checksum fits, but the content, from byte {at} on, can’t be decoded: it was written like that.'),
  'envelope protobuf': say('The checksum fits, but the sealed message can’t be decoded, from byte {at} on: it was written like that.'),
  envelope: say('What the sealed message says about itself is not what a store writes. It starts at byte 16.'),
  keys: say('The master key is right, but what it opens can’t be decoded: it was written like that. The place that the library names counts within the decrypted keys.'),
  'sealed-header short': say('It ends within its header.'),
  'sealed-header': say('Its header, at byte {at}, is not what was once written.'),
  'chunk tag': say('The key is right, but the chunk at byte {at} was changed, moved or cut off: its tag doesn’t verify.'),
  'chunk short': say('It ends within the chunk at byte {at}: it was cut off.'),
  other: say('Its bytes are not what was once written.'),
};

/** Of a dictionary, the envelope follows a header of 16 bytes, from whose end its places count. */
export function explainDamage({ finding = '', offset = 0, message }: StillkeyError, name: Said): Explanation {
  const part = finding.split(' ')[0] ?? '';
  const text = damageTexts[finding] ?? damageTexts[part] ?? damageTexts['other'] ?? nothing;
  const at = part === 'envelope' ? offset + 16 : offset;
  return { tone: 'bad', title: say('{name} is damaged or cut off', { name }), text: say(text.english, { at }), next: [restore, backup], detail: message };
}
