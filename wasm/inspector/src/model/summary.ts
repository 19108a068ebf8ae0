/** The verdict over a store: one sentence for each thing that was found, the worst first. Each leads to what it speaks of. */
import type { KeyEntry, Sealing } from 'stillkey';
import { type LogFacts, logFinding } from './findings.js';
import type { State } from './rows.js';
import { type Said, say } from './text.js';

export interface Finding {
  readonly tone: 'bad' | 'warn' | 'good' | 'info';
  readonly text: Said;
  /** Where it leads: files in this state, or a view. */
  readonly to: { readonly state: State } | 'log' | 'overview';
}

/** What a verdict rests on. */
export interface Grounds {
  /** `problem`: it is there, and can't be read. */
  readonly keyDict: { readonly keys: readonly KeyEntry[] | null; readonly sealing: Sealing | null; readonly isBroken: boolean } | null;
  readonly fileDict: { readonly log: LogFacts | null; readonly version: 1 | 2 } | null;
  readonly states: ReadonlyMap<State, number>;
  readonly hasKey: boolean;
  /** Whether files were picked, so that one can say which are missing. */
  readonly hasFiles: boolean;
}

const order = ['bad', 'warn', 'info', 'good'] as const;

/** All findings, the worst first; of the same weight, those about everything first. */
export function summarise({ keyDict, fileDict, states, hasKey, hasFiles }: Grounds): Finding[] {
  const found: Finding[] = [];
  const add = (tone: Finding['tone'], to: Finding['to'], text: Said) => void found.push({ tone, to, text });
  const files = (state: State, tone: Finding['tone'], text: (values: { n: number }) => Said) => {
    const n = states.get(state) ?? 0;
    if (n) add(tone, { state }, text({ n }));
  };
  const current = keyDict?.keys?.find(({ isCurrent }) => isCurrent);
  if (current?.method === 'plaintext') add('bad', 'overview', say('New files are written unencrypted: the current key is of the method plaintext.'));
  if (keyDict?.isBroken) add('bad', 'overview', hasKey ? say('key.dict can’t be opened.') : say('key.dict can’t be read.'));
  else if (keyDict?.sealing?.method === 'plaintext') add('bad', 'overview', say('The data keys lie in the clear: anyone who reads key.dict can decrypt everything.'));
  if (fileDict && !fileDict.log) add('bad', 'log', say('file.dict can’t be read.'));
  if (fileDict?.log && fileDict.version === 2) addLog(fileDict.log, add);
  files('key missing', 'bad', (n) => say('{n|file|files} can’t be read: the data key is missing.', n));
  files('unknown method', 'bad', (n) => say('{n|file|files} can’t be read: the method is unknown.', n));
  files('no entry', fileDict?.log ? 'warn' : 'info', (n) => say('{n|file has|files have} no entry.', n));
  files('plaintext', 'warn', (n) => say('{n|file is|files are} not encrypted, by its entry.', n));
  if (hasFiles) files('not picked', 'info', (n) => say('{n|entry has|entries have} no file here.', n));
  if (keyDict && !keyDict.keys && !keyDict.isBroken) add('info', 'overview', say('key.dict is not open yet: whether every file has its key can’t be told.'));
  if (!keyDict && fileDict) add('info', 'overview', say('Without key.dict, whether every file has its key can’t be told.'));
  if (!fileDict && keyDict) add('info', 'overview', say('Without file.dict, nothing says which key a file has.'));
  files('ready', 'good', (n) => say('{n|file|files} can be read.', n));
  if (fileDict?.log && fileDict.version === 1) add('good', 'log', say('file.dict is whole.'));
  return found.sort((a, b) => order.indexOf(a.tone) - order.indexOf(b.tone));
}

function addLog(log: LogFacts, add: (tone: Finding['tone'], to: 'log', text: Said) => void): void {
  const at = log.verdict.state === 'complete' ? log.size : log.verdict.at;
  const kind = logFinding(log);
  if (kind === 'complete') add('good', 'log', say('The log is whole.'));
  else if (kind === 'zeros') add(log.verdict.state === 'corrupt' ? 'bad' : 'warn', 'log', say('From byte {at} on, the log has only zeros: entries may be missing.', { at }));
  else if (log.verdict.state === 'corrupt') add('bad', 'log', say('The log is damaged at byte {at}: the list of files is incomplete.', { at }));
  else if (kind === 'checksum-at-end') add('bad', 'log', say('The last record of the log is damaged (byte {at}): an entry may be missing.', { at }));
  else add('warn', 'log', say('The log ends inside a record, at byte {at}: an entry may be missing.', { at }));
}
