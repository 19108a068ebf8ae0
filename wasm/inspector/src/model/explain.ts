/** What went wrong, in words for somebody who was just woken up: what it means, and what to try next. */
import { StillkeyError, type Sealing, type Verdict } from 'stillkey';
import { count, grouped } from './bytes.js';

/** A message on the page. */
export interface Explanation {
  readonly tone: 'bad' | 'warn' | 'good' | 'info';
  readonly title: string;
  readonly text: string;
  /** What to try, the likeliest first. */
  readonly next?: readonly string[];
  /** The package's own words. */
  readonly detail?: string;
}

/** What was being done when it went wrong. */
export type Doing = 'master-key' | 'key.dict' | 'file.dict' | 'sealed' | 'file';

/** An error, explained. */
export function explain(error: unknown, doing: Doing): Explanation {
  if (!(error instanceof StillkeyError)) return unexpected(error);
  const known = explanations[doing](error) ?? common(error, doing);
  return known ? { tone: 'bad', detail: error.message, ...known } : unexpected(error);
}

type Found = Pick<Explanation, 'title' | 'text' | 'next'> & Partial<Explanation>;

const restore = 'Copy it once more from the host: a copy taken while the store was writing can be cut off.';
const backup = 'If the copy is exact, restore this file from a backup of the same moment as the rest of the directory.';

const explanations: Record<Doing, (error: StillkeyError) => Found | undefined> = {
  'master-key': ({ reason, offset, message }) => {
    if (reason !== 'typo') return undefined;
    const place = offset === undefined ? '' : ` at character ${offset + 1}`;
    return {
      title: `The master key has a typo${place}`,
      text: `A master key is 64 hexadecimal digits: 0 to 9 and a to f.${offset === undefined ? '' : ` Counting from 1, character ${offset + 1} is the first that can't be right.`} What you typed is not shown and not kept.`,
      next: ['Load the key file instead of typing it.', 'Look for a letter O in place of 0, a letter l in place of 1, or a digit that was lost when copying.'],
      detail: message,
    };
  },
  'key.dict': ({ code, reason }) => {
    if (reason === 'other-kind') {
      return {
        title: 'This key.dict was sealed by another kind of master key',
        text: 'It names a key service, or another kind than a key of 32 bytes; the pasted key is not what it was sealed with.',
        next: ['Ask the key service for the unwrapped key; then use the stillkey command with --master-key, which accepts it.', "See the store's configuration for which key service and key it names."],
      };
    }
    if (code === 'wrong-master-key') {
      return {
        title: 'Wrong master key',
        text: 'This master key is well-formed, but it is not the one that sealed this key.dict. The data itself may be fine.',
        next: [
          'Check that key and directory are of the same cluster and the same store.',
          'If the master key was rotated, try the previous one: a backup opens with the key of its day.',
          'If several key files exist, load one after the other; nothing is changed by trying.',
        ],
      };
    }
    return undefined;
  },
  'file.dict': () => undefined,
  sealed: ({ code, reason }) => {
    if (reason === 'wrong-context') {
      return {
        title: 'Wrong encryption context',
        text: 'The object was sealed together with facts that have to be presented again, and these are not they.',
        next: ['Enter the context that the writer used, one name=value on each line.', 'Look at spelling and case: the context is taken byte for byte.'],
      };
    }
    if (code === 'wrong-master-key') {
      return {
        title: 'None of the object’s recipients is this master key',
        text: 'The object names the master keys that open it. The one given here has another reference.',
        next: ['Compare the references below with those of your keys.', 'Ask whoever sealed it to add a recipient.'],
      };
    }
    if (code === 'unsupported') {
      return {
        title: 'A sealed object that this page can’t read',
        text: 'It is of a later version or of a kind that this release doesn’t know. It is not damaged as far as can be seen.',
        next: ['Use a newer release of this page or of the stillkey command.'],
      };
    }
    return undefined;
  },
  file: ({ code, reason }) => {
    if (reason === 'freed') return { title: 'The key was forgotten', text: 'What was being read needed it.', next: ['Give the master key again.'] };
    if (reason === 'not-found') {
      return {
        title: 'The key of this file is missing from key.dict',
        text: 'file.dict says which data key the file was encrypted with, and this key.dict doesn’t hold it. Without that key the file can’t be read.',
        next: [
          'Check that key.dict and file.dict are of the same directory and the same moment: an older key.dict lacks newer keys.',
          'Look for a newer key.dict in backups; data keys are only ever added.',
        ],
      };
    }
    if (reason === 'unavailable') {
      return {
        title: 'The file can’t be read',
        text: 'The browser could not read it: it was moved, changed or closed since it was opened here.',
        next: ['Open it again.'],
      };
    }
    if (code === 'unsupported' && reason === 'unsupported') {
      return {
        title: 'An encryption method of the future',
        text: 'The entry names a method that this release doesn’t know.',
        next: ['Use a newer release of this page.', 'If nothing that new ever wrote here, suspect the dictionary.'],
      };
    }
    if (code === 'usage') {
      return {
        title: 'Entry and key disagree',
        text: 'The key’s length doesn’t fit the method that the entry names, or the entry’s initialization vector isn’t 16 bytes.',
        next: ['Check that key.dict and file.dict are of the same directory.', 'Suspect a dictionary that was edited by hand or by another program.'],
      };
    }
    return undefined;
  },
};

function common({ code, reason, offset }: StillkeyError, doing: Doing): Found | undefined {
  const name = doing === 'sealed' ? 'The sealed object' : doing === 'file' ? 'The file' : doing;
  const where = offset === undefined ? '' : ` The damaged part starts at byte ${grouped(offset)}.`;
  if (reason === 'out-of-memory') return { title: `${name} doesn’t fit into memory here`, text: 'The browser gave no more memory.', next: ['Close other tabs, or use the stillkey command.'] };
  if (code === 'damaged') return { title: `${name} is damaged or cut off`, text: `Its bytes are not what was once written.${where}`, next: [restore, backup] };
  if (code === 'unsupported') return { title: `${name} is of a version or kind that this page doesn’t know`, text: 'It may be of a later release, or not be what its name says.', next: ['Check that this is the file you meant.', 'Use a newer release of this page.'] };
  return undefined;
}

function unexpected(error: unknown): Explanation {
  return {
    tone: 'bad',
    title: 'This went wrong in a way that is not foreseen',
    text: 'What was open before is still there.',
    next: ['Try once more; if it repeats, report the words below.'],
    detail: error instanceof Error ? error.message : String(error),
  };
}

/** A dictionary that is too long to be one. */
export function tooLarge(name: string, size: string, most: string): Explanation {
  return {
    tone: 'bad',
    title: `${name} is too large to be a dictionary`,
    text: `It is ${size}, and dictionaries of millions of files stay below ${most}. It was not read.`,
    next: ['Check that the right file has this name: a data file may have been copied over it.'],
  };
}

/** A dictionary without a byte. */
export function empty(name: string): Explanation {
  return {
    tone: 'bad',
    title: `${name} is empty`,
    text: 'There is not a single byte in it. A store never writes it like that; a full disk or a copy that failed does.',
    next: [restore, backup],
  };
}

/** Why a key.dict isn't open yet. */
export function locked({ method, vendor }: Sealing): Explanation {
  if (vendor) {
    return {
      tone: 'warn',
      title: `key.dict is sealed by the key service ${vendor}`,
      text: 'This page talks to nobody, so it can’t ask the service to unwrap the key. Everything that needs no key is shown.',
      next: ['Have the service unwrap the key, and use the stillkey command with it as --master-key.'],
    };
  }
  return {
    tone: 'info',
    title: 'key.dict is sealed: give the master key',
    text: `It was sealed with ${method ?? 'a method that it doesn’t name'}. Names, methods and the log can be seen without it; keys and contents can’t.`,
  };
}

/** How the log ends, and what TiKV would make of it. */
export function explainLog(verdict: Verdict, tikv: Verdict | null, records: number, fileSize: number): Explanation {
  const start = atStart(tikv);
  if (verdict.state === 'complete') {
    return { tone: 'good', title: 'The log is complete', text: records === 0 ? 'It holds no record yet.' : `${count(records, 'record')}, each with a checksum that fits, up to the last byte.` };
  }
  if (verdict.state === 'torn-tail') {
    return {
      tone: 'warn',
      title: `The last append was cut off at byte ${grouped(verdict.at)}`,
      text: `The file ends in the middle of a record: ${count(verdict.dropped, 'byte')} of it ${verdict.dropped === 1 ? 'is' : 'are'} there. This is what a crash or a copy in the middle of a write leaves behind, and it is harmless: that append was never confirmed. ${before(records)} ${start}`,
      next: ['Nothing has to be done for the store to start.', 'If this is a copy, copy it once more to get the last entries.'],
    };
  }
  return {
    tone: 'bad',
    title: `The log is damaged at byte ${grouped(verdict.at)}`,
    text: `${before(records)} From there on, ${count(fileSize - verdict.at, 'byte')} can’t be trusted: entries may be missing or out of date, and removed files may seem to be there. This is not a torn append: bytes that were once confirmed have changed. ${start}`,
    next: ['Don’t let the store start on it before a copy was kept.', 'Restore file.dict from a replica’s or a backup’s copy of the same moment.'],
    detail: verdict.why,
  };
}

function before(records: number): string {
  if (records === 0) return 'It is the first record of the log.';
  return records === 1 ? 'The record before it is whole.' : `The ${count(records, 'record')} before it are whole.`;
}

function atStart(tikv: Verdict | null): string {
  if (tikv === null || tikv.state === 'corrupt') return 'TiKV would refuse to start on it.';
  if (tikv.state === 'torn-tail') return `TiKV would start, and drop the last ${count(tikv.dropped, 'byte')}.`;
  return 'TiKV would start on it.';
}
