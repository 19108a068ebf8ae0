/** Whether what was decrypted makes sense: tells the right key from noise, and a label from the bytes under it. */
import type { Explanation } from './findings.js';
import { detect, type Format, looksRandom, type Sample } from './formats.js';
import { type Said, say } from './text.js';

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
  if (disk.size === 0) return { tone: 'info', title: say('The file is empty'), text: say('There is nothing to decrypt and nothing to tell a key by.') };
  const [onDisk, decrypted] = [detect(disk), detect(plain)];
  if (onDisk?.name === 'zeros') return zeros(method, disk);
  if (method === null || method === 'plaintext') return unencrypted(method, onDisk, disk);
  // Bytes that make sense after decryption can't also make sense before, unless by chance; the surer one counts.
  if (onDisk?.sure && !decrypted?.sure) return notEncrypted(method, onDisk);
  if (decrypted) return readable(name, decrypted);
  return noise(plain);
}

/** Zeros are no content, encrypted or not: something was to be written there. */
function zeros(method: string | null, { head, size }: Sample): Explanation {
  const n = head.length;
  const which = n === size ? say('All {n|byte|bytes} on disk are zero.', { n }) : say('The first {n|byte|bytes} on disk are zero; the rest was not looked at.', { n });
  const isEncrypted = method !== null && method !== 'plaintext';
  return {
    tone: isEncrypted ? 'warn' : 'info',
    title: say('Zeros on disk: probably never written'),
    text: isEncrypted
      ? say('{which} Encrypted data has no runs of zeros. After a crash or a failed copy they stand where nothing was written, so what should be here is probably missing; decrypting zeros gives noise.', { which })
      : say('{which} That says neither that the file is encrypted nor that it isn’t: space that was reserved or never written looks the same.', { which }),
    next: [say('Look further into the file: what was written may start behind them.'), say('Compare with the file on the host, or on a replica.')],
  };
}

function readable(name: string, { name: format, by, sure }: Format): Explanation {
  const expected = expectations.find(([pattern]) => pattern.test(name));
  const isUnexpected = sure && expected !== undefined && !expected[1].test(format);
  return {
    tone: isUnexpected ? 'warn' : sure ? 'good' : 'info',
    title: sure ? say('Right key: the content is recognised as {format}', { format }) : say('Probably the right key: the content looks like {format}', { format }),
    text: say('Told by {by}.{chance}{unexpected}', {
      by,
      chance: sure ? '' : say(' That little could be chance.'),
      unexpected: isUnexpected ? say(' The name, though, suggests {format}.', { format: expected[2] }) : '',
    }),
    ...(isUnexpected ? { next: [say('Check that the right file was picked for this entry: a file that was renamed keeps its old entry’s key, and often its content’s kind.')] } : {}),
  };
}

/** What names promise. */
const expectations: readonly (readonly [RegExp, RegExp, Said])[] = [
  [/\.sst$/i, /SST/, say('a RocksDB table')],
  [/(\.raftlog|\.rewrite)$/i, /raft-engine|zeros/, say('a raft-engine log')],
  [/\.parquet$/i, /Parquet/, say('Parquet')],
  [/\.json$/i, /JSON/, say('JSON')],
  [/\.gz$/i, /gzip/, say('gzip')],
  [/\.zst$/i, /Zstandard/, say('Zstandard')],
];

function notEncrypted(method: string, { name, by }: Format): Explanation {
  return {
    tone: 'bad',
    title: say('Label and bytes disagree: the file is not encrypted'),
    text: say('file.dict says {method}, but the bytes on disk already are {format}, told by {by}. Decrypting them makes noise of them.', { method, format: name, by }),
    next: [
      say('Read the side “On disk”: that is the content.'),
      say('Find out which program wrote the file past the encryption: a restore, a manual copy, or a tool that doesn’t know about it.'),
      say('Don’t start the store on it before the entry and the file agree: it would read noise.'),
    ],
  };
}

function unencrypted(method: string | null, found: Format | null, disk: Sample): Explanation {
  const label = method === null ? say('file.dict has no entry for this file, so TiKV takes it for plaintext') : say('file.dict says that this file is not encrypted');
  if (found) return { tone: found.sure ? 'good' : 'info', title: say('Not encrypted: {format}', { format: found.name }), text: say('{label}, and the bytes agree: told by {by}.', { label, by: found.by }) };
  if (looksRandom(disk.head)) {
    return {
      tone: 'warn',
      title: method === null ? say('The entry of this file may be missing') : say('Label and bytes may disagree: this looks encrypted'),
      text: say('{label}, but its bytes are spread as evenly as ciphertext is. Compressed content of an unknown kind would be, too.', { label }),
      next: [
        say('Pick the entry that it belongs to below, if the file was renamed when it was copied.'),
        say('Look in a newer file.dict: in an older copy, files that came later are missing.'),
        say('See the log: if its end is torn or damaged, the entry may be what was lost.'),
      ],
    };
  }
  return { tone: 'info', title: say('Content of an unknown kind'), text: say('{label}. The bytes are of no kind that this page knows, and not spread like ciphertext either.', { label }) };
}

function noise(plain: Sample): Explanation {
  if (looksRandom(plain.head) === false) {
    return { tone: 'info', title: say('Probably the right key: not noise'), text: say('The content is of no kind that this page knows, but its bytes are spread unevenly. A wrong key would make them even.') };
  }
  if (plain.head.length < 32) return { tone: 'info', title: say('Too short to tell'), text: say('So few bytes say nothing about the key.') };
  return {
    tone: 'warn',
    title: say('Noise: a wrong key, or compressed content of an unknown kind'),
    text: say('Decrypted, the bytes are spread as evenly as ciphertext is. Counter mode has no checksum, so a wrong data key, a wrong initialization vector or a changed file all look like this.'),
    next: [
      say('Check that this file belongs to this entry: the same name in another directory has another initialization vector.'),
      say('Check that file.dict is as new as the file: a rewritten file gets a new entry.'),
      say('For TiFlash pages, give the name of the page file below: its initialization vector is derived from it.'),
    ],
  };
}
