/** Whether what was decrypted makes sense: tells the right key from noise, and a label from the bytes under it. */
import type { Explanation } from './explain.js';
import { detect, type Format, looksRandom, type Sample } from './formats.js';

/** What the dictionary says about a file, and what its bytes look like, before and after decryption. */
export interface Evidence {
  readonly name: string;
  /** The method that the entry names; `null` without an entry. */
  readonly method: string | null;
  readonly disk: Sample;
  /** The same as `disk` where nothing was decrypted. */
  readonly plain: Sample;
}

/** What to think of it. */
export function judge({ name, method, disk, plain }: Evidence): Explanation {
  if (disk.size === 0) return { tone: 'info', title: 'The file is empty', text: 'There is nothing to decrypt and nothing to tell a key by.' };
  const [onDisk, decrypted] = [detect(disk), detect(plain)];
  if (method === null || method === 'plaintext') return unencrypted(method, onDisk, disk);
  // Bytes that make sense after decryption can't also make sense before, unless by chance; the surer one counts.
  if (onDisk?.sure && !decrypted?.sure) return notEncrypted(method, onDisk);
  if (decrypted) return readable(name, decrypted);
  return noise(plain);
}

function readable(name: string, { name: format, by, sure }: Format): Explanation {
  const expected = expectations.find(([pattern]) => pattern.test(name));
  const unexpected = sure && expected && !expected[1].test(format) ? ` The name, though, suggests ${expected[2]}.` : '';
  return {
    tone: unexpected ? 'warn' : sure ? 'good' : 'info',
    title: sure ? `Right key: the content is recognised as ${format}` : `Probably the right key: the content looks like ${format}`,
    text: `Told by ${by}.${sure ? '' : ' That little could be chance.'}${unexpected}`,
    ...(unexpected ? { next: ['Check that the right file was picked for this entry: a file that was renamed keeps its old entry’s key, and often its content’s kind.'] } : {}),
  };
}

/** What names promise. */
const expectations: readonly (readonly [RegExp, RegExp, string])[] = [
  [/\.sst$/i, /SST/, 'a RocksDB table'],
  [/(\.raftlog|\.rewrite)$/i, /raft-engine|zeros/, 'a raft-engine log'],
  [/\.parquet$/i, /Parquet/, 'Parquet'],
  [/\.json$/i, /JSON/, 'JSON'],
  [/\.gz$/i, /gzip/, 'gzip'],
  [/\.zst$/i, /Zstandard/, 'Zstandard'],
];

function notEncrypted(method: string, { name, by }: Format): Explanation {
  return {
    tone: 'bad',
    title: 'Label and bytes disagree: the file is not encrypted',
    text: `file.dict says ${method}, but the bytes on disk already are ${name}, told by ${by}. Decrypting them makes noise of them.`,
    next: [
      'Read the side “On disk”: that is the content.',
      'Find out which program wrote the file past the encryption: a restore, a manual copy, or a tool that doesn’t know about it.',
      'Don’t start the store on it before the entry and the file agree: it would read noise.',
    ],
  };
}

function unencrypted(method: string | null, found: Format | null, disk: Sample): Explanation {
  const label = method === null ? 'file.dict has no entry for this file, so TiKV takes it for plaintext' : 'file.dict says that this file is not encrypted';
  if (found) return { tone: found.sure ? 'good' : 'info', title: `Not encrypted: ${found.name}`, text: `${label}, and the bytes agree: told by ${found.by}.` };
  if (looksRandom(disk.head)) {
    return {
      tone: 'warn',
      title: method === null ? 'The entry of this file may be missing' : 'Label and bytes may disagree: this looks encrypted',
      text: `${label}, but its bytes are spread as evenly as ciphertext is. Compressed content of an unknown kind would be, too.`,
      next: [
        'Pick the entry that it belongs to above, if the file was renamed when it was copied.',
        'Look in a newer file.dict: in an older copy, files that came later are missing.',
        'See the log: if its end is torn or damaged, the entry may be what was lost.',
      ],
    };
  }
  return { tone: 'info', title: 'Content of an unknown kind', text: `${label}. The bytes are of no kind that this page knows, and not spread like ciphertext either.` };
}

function noise(plain: Sample): Explanation {
  if (looksRandom(plain.head) === false) {
    return { tone: 'info', title: 'Probably the right key: not noise', text: 'The content is of no kind that this page knows, but its bytes are spread unevenly. A wrong key would make them even.' };
  }
  const few = plain.head.length < 32;
  return {
    tone: few ? 'info' : 'warn',
    title: few ? 'Too short to tell' : 'Noise: a wrong key, or compressed content of an unknown kind',
    text: few
      ? 'So few bytes say nothing about the key.'
      : 'Decrypted, the bytes are spread as evenly as ciphertext is. Counter mode has no checksum, so a wrong data key, a wrong initialization vector or a changed file all look like this.',
    ...(few
      ? {}
      : {
          next: [
            'Check that this file belongs to this entry: the same name in another directory has another initialization vector.',
            'Check that file.dict is as new as the file: a rewritten file gets a new entry.',
            'For TiFlash pages, give the name of the page file below: its initialization vector is derived from it.',
          ],
        }),
  };
}
