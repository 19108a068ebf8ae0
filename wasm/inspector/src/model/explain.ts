/** What went wrong, in words for somebody who was just woken up: what it means, and what to try next. */
import { StillkeyError, type Sealing } from 'stillkey';
import { size } from './bytes.js';
import { explainDamage, type Explanation } from './findings.js';
import { say } from './text.js';

export { type Explanation, explainLog } from './findings.js';

/** What was being done when it went wrong. */
export type Doing = 'master-key' | 'key.dict' | 'file.dict' | 'sealed' | 'file';

/** An error, explained. `sealing` says how a key.dict is sealed, where that is known. */
export function explain(error: unknown, doing: Doing, sealing: Sealing | null = null): Explanation {
  if (!(error instanceof StillkeyError)) return unexpected(error);
  const known = explanations[doing](error, sealing) ?? common(error, doing);
  return known ? { tone: 'bad', detail: error.message, ...known } : unexpected(error);
}

type Found = Pick<Explanation, 'title' | 'text' | 'next'> & Partial<Explanation>;

const explanations: Record<Doing, (error: StillkeyError, sealing: Sealing | null) => Found | undefined> = {
  'master-key': ({ reason, offset }) => {
    if (reason !== 'typo') return undefined;
    return {
      title: offset === undefined ? say('The master key has a typo') : say('The master key has a typo at character {at}', { at: offset + 1 }),
      text: say('A master key is 64 hexadecimal digits: 0 to 9 and a to f. What you typed is not shown here; it is still in the field, to be corrected.'),
      next: [say('Load the key file instead of typing it.'), say('Look for a letter O in place of 0, a letter l in place of 1, or a digit that was lost when copying.')],
    };
  },
  'key.dict': ({ code, reason }, sealing) => {
    if (code === 'wrong-master-key' && sealing?.vendor) {
      return {
        title: say('This is not the key that the key service {vendor} wrapped', { vendor: sealing.vendor }),
        text: say('key.dict holds a key that the service wrapped. Only that key, unwrapped by the service, opens it here. The data itself may be fine.'),
        next: [say('Have the service unwrap the key: “stillkey inspect” shows what was wrapped, in Base64.'), say('If key.dict was sealed again since, the service wrapped another key: use the one of this very file.')],
      };
    }
    if (reason === 'other-kind') {
      return {
        title: say('This key.dict was sealed by another kind of master key'),
        text: say('It names a method that a key of 32 bytes doesn’t open.'),
        next: [say('See the store’s configuration for which master key it names.')],
      };
    }
    if (code === 'wrong-master-key') {
      return {
        title: say('Wrong master key'),
        text: say('This master key is well-formed, but it is not the one that sealed this key.dict. The data itself may be fine.'),
        next: [
          say('Check that key and directory are of the same cluster and the same store.'),
          say('If the master key was rotated, try the previous one: a backup opens with the key of its day.'),
          say('If several key files exist, load one after the other; nothing is changed by trying.'),
        ],
      };
    }
    return undefined;
  },
  'file.dict': () => undefined,
  sealed: ({ code, reason }) => {
    if (reason === 'wrong-context') {
      return {
        title: say('Wrong encryption context'),
        text: say('The object was sealed together with facts that have to be presented again, and these are not they.'),
        next: [say('Enter the context that the writer used, one name=value on each line.'), say('Look at spelling and case: the context is taken byte for byte.')],
      };
    }
    if (code === 'wrong-master-key') {
      return {
        title: say('None of the object’s recipients is this master key'),
        text: say('The object names the master keys that open it. The one given here has another reference.'),
        next: [say('Compare the references below with those of your keys.'), say('Ask whoever sealed it to add a recipient.')],
      };
    }
    if (code === 'unsupported') {
      return {
        title: say('A sealed object that this page can’t read'),
        text: say('It is of a later version or of a kind that this release doesn’t know. It is not damaged as far as can be seen.'),
        next: [say('Use a newer release of this page or of the stillkey command.')],
      };
    }
    return undefined;
  },
  file: ({ code, reason }) => {
    if (reason === 'freed') return { title: say('The key was forgotten'), text: say('What was being read needed it.'), next: [say('Give the master key again.')] };
    if (reason === 'not-found') {
      return {
        title: say('The key of this file is missing from key.dict'),
        text: say('file.dict says which data key the file was encrypted with, and this key.dict doesn’t hold it. Without that key the file can’t be read.'),
        next: [
          say('Check that key.dict and file.dict are of the same directory and the same moment: an older key.dict lacks newer keys.'),
          say('Look for a newer key.dict in backups; data keys are only ever added.'),
        ],
      };
    }
    if (reason === 'unavailable') {
      return { title: say('The file can’t be read'), text: say('The browser could not read it: it was moved, changed or closed since it was opened here.'), next: [say('Open it again.')] };
    }
    if (code === 'unsupported' && reason === 'unsupported') {
      return {
        title: say('An encryption method of the future'),
        text: say('The entry names a method that this release doesn’t know.'),
        next: [say('Use a newer release of this page.'), say('If nothing that new ever wrote here, suspect the dictionary.')],
      };
    }
    if (code === 'usage') {
      return {
        title: say('Entry and key disagree'),
        text: say('The key’s length doesn’t fit the method that the entry names, or the entry’s initialization vector isn’t 16 bytes.'),
        next: [say('Check that key.dict and file.dict are of the same directory.'), say('Suspect a dictionary that was edited by hand or by another program.')],
      };
    }
    return undefined;
  },
};

function common(error: StillkeyError, doing: Doing): Found | undefined {
  const { code, reason } = error;
  const name = doing === 'sealed' ? say('The sealed object') : doing === 'file' ? say('The file') : say(doing);
  if (reason === 'out-of-memory') return { title: say('{name} doesn’t fit into memory here', { name }), text: say('The browser gave no more memory.'), next: [say('Close other tabs, or use the stillkey command.')] };
  if (code === 'damaged') return explainDamage(error, name);
  if (code === 'unsupported') return { title: say('{name} is of a version or kind that this page doesn’t know', { name }), text: say('It may be of a later release, or not be what its name says.'), next: [say('Check that this is the file you meant.'), say('Use a newer release of this page.')] };
  return undefined;
}

function unexpected(error: unknown): Explanation {
  return {
    tone: 'bad',
    title: say('This went wrong in a way that is not foreseen'),
    text: say('What was open before is still there.'),
    next: [say('Try once more; if it repeats, report the words below.')],
    detail: error instanceof Error ? error.message : String(error),
  };
}

/** A master key that is one, but in another form; `null` for digits, right or wrong. */
export function otherForm(text: string): Explanation | null {
  const next = [say('A master key file of TiKV’s holds 64 hexadecimal digits, and nothing else.')];
  if (/-----BEGIN/.test(text)) {
    return { tone: 'bad', title: say('This is a PEM file, not a master key'), text: say('It holds a certificate or a private key, such as for TLS. A master key is 32 bytes.'), next };
  }
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(text) && !/^[0-9a-f]*$/i.test(text)) {
    return {
      tone: 'bad',
      title: say('This is Base64, and the page takes hexadecimal digits'),
      text: say('As Base64 it would be 32 bytes, which is the length of a master key.'),
      next: [say('Turn it into hexadecimal digits, for example with: base64 -d | xxd -p -c 32')],
    };
  }
  return null;
}

/** A dictionary that is too long to be one. */
export function tooLarge(name: string, length: number, most: number): Explanation {
  return {
    tone: 'bad',
    title: say('{name} is too large to be a dictionary', { name }),
    text: say('It is {size}, and dictionaries of millions of files stay below {most}. It was not read.', { size: size(length), most: size(most) }),
    next: [say('Check that the right file has this name: a data file may have been copied over it.')],
  };
}

/** A dictionary without a byte. */
export function empty(name: string): Explanation {
  return {
    tone: 'bad',
    title: say('{name} is empty', { name }),
    text: say('There is not a single byte in it. A store never writes it like that; a full disk or a copy that failed does.'),
    next: [say('Copy it once more from the host.'), say('If it is empty there, restore it from a backup of the same moment as the rest of the directory.')],
  };
}

/** Why a key.dict isn't open yet. */
export function locked({ method, vendor }: Sealing): Explanation {
  if (vendor) {
    return {
      tone: 'info',
      title: say('key.dict is sealed by the key service {vendor}', { vendor }),
      text: say('This page talks to nobody, so it can’t ask the service. The key that the service unwraps, 64 hexadecimal digits, opens key.dict here: give it as the master key. What needs no key is shown.'),
      next: [say('Have the service unwrap the key: “stillkey inspect” shows what was wrapped, in Base64.')],
    };
  }
  return {
    tone: 'info',
    title: say('key.dict is sealed: give the master key'),
    text: say('It was sealed with {method}. Names, methods and the log can be seen without it; keys and contents can’t.', { method: method ?? say('a method that it doesn’t name') }),
  };
}
