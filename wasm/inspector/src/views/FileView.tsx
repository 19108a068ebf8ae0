/** One file: what is known about it, whether its key is right, and its bytes. */
import { type FileDictionary, ivForTiflashFile } from 'stillkey';
import { useEffect, useRef, useState } from 'preact/hooks';
import { indexOf, parseOffset, parsePattern, size, toHex } from '../model/bytes.js';
import { explain } from '../model/explain.js';
import { baseName } from '../model/intake.js';
import { LONGEST, shown } from '../model/names.js';
import { search, type Source } from '../model/source.js';
import { read, say, t } from '../model/text.js';
import { save } from '../save.js';
import type { Opened, Session } from '../session.js';
import { Hex, type Mark } from './Hex.js';
import { Content, type Reading, readings } from './Content.js';
import { Message } from './Message.js';
import { Copy, Name } from './Name.js';

/** How many names are offered at once. */
const OFFERED = 50;

export function FileView({ session }: { session: Session }) {
  const { opened } = session;
  if (!opened) {
    return (
      <>
        <h2>{t('File')}</h2>
        <p class="nothing">
          {t('No file is open.')}{' '}
          <button type="button" onClick={() => session.show('files')}>
            {t('Choose one')}
          </button>
        </p>
      </>
    );
  }
  const { row, messages, sealed, tiflashName } = opened;
  const iv = row.entry?.iv.length ? row.entry.iv : null;
  const own = iv && tiflashName && iv.length === 16 ? ivForTiflashFile(iv, tiflashName) : iv;
  const recipients = sealed?.recipients.map(({ reference, provider }) => (provider === 1 ? reference : t('{reference} (key service {provider})', { reference, provider }))).join(', ');
  return (
    <>
      <FileName key={row.name} name={row.name} />
      {messages.map((message) => (
        <Message of={message} />
      ))}
      <dl class="about">
        {row.picked && row.picked.path !== row.name ? <Fact name={t('Picked file')} value={row.picked.path} isName /> : null}
        {row.picked ? <Fact name={t('Size')} value={row.picked.file.size < 1024 ? size(row.picked.file.size) : `${size(row.picked.file.size)} (${t('{n|byte|bytes}', { n: row.picked.file.size })})`} /> : null}
        {row.entry ? <Fact name={t('Method')} value={row.method} /> : null}
        {row.key ? <Fact name={t('Data key')} value={row.key} code /> : null}
        {iv && own ? <Fact name={own === iv ? t('Initialization vector') : t('Initialization vector, of this page file')} value={toHex(own)} code /> : null}
        {iv && own !== iv ? <Fact name={t('Initialization vector, of the group')} value={toHex(iv)} code /> : null}
        {sealed ? (
          <>
            <Fact name={t('Suite')} value={sealed.chunkSize === null ? t('{suite}, a stream without integrity', { suite: sealed.suite }) : t('{suite}, chunks of {size}', { suite: sealed.suite, size: size(sealed.chunkSize) })} />
            <Fact name={t('Opened by')} value={recipients ?? ''} code />
          </>
        ) : null}
      </dl>
      {row.entry && session.fileDict?.dictionary?.version === 2 ? (
        <button
          type="button"
          onClick={() => {
            session.searchLog(row.name, true);
            session.show('log');
          }}
        >
          {t('History in the log')}
        </button>
      ) : null}
      <Bindings session={session} opened={opened} />
      {row.picked ? <Bytes key={row.picked.path + row.name} session={session} opened={opened} /> : null}
    </>
  );
}

/** The name, short unless one asks for all of it. */
function FileName({ name }: { name: string }) {
  const [isWhole, setWhole] = useState(false);
  return (
    <h2 class="path">
      <Name of={name} whole={isWhole} /> <Copy label={t('Copy the name')} text={() => name} />
      {name.length > LONGEST ? (
        <button type="button" onClick={() => setWhole(!isWhole)}>
          {isWhole ? t('Shorten') : t('Show all of it')}
        </button>
      ) : null}
    </h2>
  );
}

function Fact({ name, value, code, isName }: { name: string; value: string; code?: boolean; isName?: boolean }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {code ? <code>{value}</code> : isName ? <Name of={value} /> : value} {code ? <Copy label={t('Copy: {name}', { name })} text={() => value} /> : null}
      </dd>
    </div>
  );
}

/** What names can't tell: which entry a file is of, which context an object was sealed with. */
function Bindings({ session, opened }: { session: Session; opened: Opened }) {
  const { row, sealed } = opened;
  if (sealed) {
    return (
      <form
        class="tools"
        onSubmit={(event) => {
          event.preventDefault();
          void session.open(row, { context: new FormData(event.currentTarget).get('context') as string });
        }}
      >
        <label class="wide">
          <span>{t('Encryption context, one name=value on each line')}</span>
          <textarea name="context" rows={2} spellcheck={false} defaultValue={opened.context} />
        </label>
        <button type="submit">{t('Open with it')}</button>
      </form>
    );
  }
  const { dictionary } = session.fileDict ?? {};
  if (!row.entry) return dictionary?.entryCount && row.picked ? <Choice label={t('Read as the entry')} names={entryNames(dictionary)} onChoose={(name) => row.picked && void session.bind(name, row.picked)} /> : null;
  const entryName = row.entry.name;
  return (
    <details class="more" open={!row.picked}>
      <summary>{t('Another file, or a page file of TiFlash')}</summary>
      {session.picked.length ? (
        <Choice
          label={t('File of this entry')}
          names={session.picked.map(({ path }) => path)}
          onChoose={(path) => {
            const picked = session.picked.find((one) => one.path === path);
            if (picked) void session.bind(entryName, picked);
          }}
        />
      ) : null}
      <form
        class="tools"
        onSubmit={(event) => {
          event.preventDefault();
          void session.open(row, { tiflashName: new FormData(event.currentTarget).get('tiflash') as string });
        }}
      >
        <label>
          <span>{t('TiFlash page file name')}</span>
          <input name="tiflash" spellcheck={false} autocomplete="off" defaultValue={opened.tiflashName} placeholder={t('none')} />
        </label>
        <button type="submit">{t('Use')}</button>
      </form>
    </details>
  );
}

function entryNames(dictionary: FileDictionary): Iterable<string> {
  return {
    *[Symbol.iterator]() {
      for (let at = 0; at < dictionary.entryCount; at++) yield dictionary.nameAt(at) ?? '';
    },
  };
}

/** The first names that `typed` is a part of. */
function offer(names: Iterable<string>, typed: string): string[] {
  const offered: string[] = [];
  for (const name of names) {
    if (name.toLowerCase().includes(typed)) offered.push(name);
    if (offered.length === OFFERED) break;
  }
  return offered;
}

/** A field that offers names as one types. */
function Choice({ label, names, onChoose }: { label: string; names: Iterable<string>; onChoose: (name: string) => void }) {
  const [typed, setTyped] = useState('');
  const id = `choices-${label.replace(/\W/g, '-')}`;
  const offered = offer(names, typed.toLowerCase());
  const exact = offered.find((name) => name === typed) ?? (offered.length === 1 ? offered[0] : undefined);
  return (
    <form
      class="tools"
      onSubmit={(event) => {
        event.preventDefault();
        if (exact !== undefined) onChoose(exact);
      }}
    >
      <label class="wide">
        <span>{label}</span>
        <input list={id} value={typed} spellcheck={false} autocomplete="off" placeholder={t('part of its name')} onInput={({ currentTarget }) => setTyped(currentTarget.value)} />
      </label>
      <datalist id={id}>
        {offered.map((name) => (
          <option value={name}>{shown(name)}</option>
        ))}
      </datalist>
      <button type="submit" disabled={exact === undefined}>
        {t('Use')}
      </button>
    </form>
  );
}

function Bytes({ session, opened }: { session: Session; opened: Opened }) {
  const { plain, disk, row } = opened;
  const source: Source = plain ?? disk;
  const { offset } = session;
  const [mark, setMark] = useState<Mark | null>(null);
  const [said, setSaid] = useState('');
  const [kind, setKind] = useState<'text' | 'hex'>('text');
  const [reading, setReading] = useState<Reading>('bytes');
  const [saving, setSaving] = useState(-1);
  const [isSearching, setSearching] = useState(false);
  const working = useRef<AbortController | null>(null);
  const place = useRef<HTMLInputElement>(null);
  useEffect(() => () => working.current?.abort(), []);
  if (source.size === 0) return null;

  const jump = (event: Event) => {
    event.preventDefault();
    const to = parseOffset(place.current?.value ?? '', source.size);
    if (to === null) return setSaid(t('An offset is a number from 0 to {last}: 4096, 0x1000, 4 GiB, or -53 from the end.', { last: source.size - 1 }));
    session.moveTo(to);
    setMark({ at: to, length: 1 });
    setSaid(t('At byte {at}.', { at: to }));
  };
  const find = async (event: SubmitEvent) => {
    event.preventDefault();
    const pattern = parsePattern(String(new FormData(event.currentTarget as HTMLFormElement).get('pattern') ?? ''), kind);
    if (!pattern) return setSaid(kind === 'hex' ? t('Type whole bytes as pairs of hexadecimal digits.') : t('Type what to look for.'));
    const from = mark ? mark.at + 1 : offset;
    working.current?.abort();
    const work = (working.current = new AbortController());
    setSearching(true);
    let at = from;
    setSaid(t('Searching…'));
    try {
      const found = await search(source, pattern, from, indexOf, work.signal, (reached) => {
        at = reached;
        setSaid(t('Searching, at byte {at} of {size}…', { at: reached, size: source.size }));
      });
      if (found === null) return setSaid(t('Not from byte {from} to the end.', { from }));
      session.moveTo(Math.max(0, found - 64));
      setMark({ at: found, length: pattern.length });
      setSaid(t('Found at byte {at} (0x{hex}).', { at: found, hex: found.toString(16) }));
    } catch (error) {
      if (!work.signal.aborted) session.note(explain(error, 'file'));
      else if (working.current === work) {
        setSaid(t('Stopped: not from byte {from} to {at}.', { from, at }));
        // Find goes on from here.
        setMark({ at, length: 0 });
      }
    } finally {
      if (working.current === work) setSearching(false);
    }
  };
  const download = async () => {
    const work = new AbortController();
    working.current = work;
    setSaving(0);
    try {
      const name = `${baseName(row.name)}${plain && plain !== disk ? '.decrypted' : ''}`;
      const isDone = await save(source, name, setSaving, work.signal);
      setSaid(isDone ? t('Saved {n|byte|bytes}.', { n: source.size }) : t('Not saved.'));
    } catch (error) {
      if (!work.signal.aborted) session.note({ tone: 'bad', title: say('The file could not be saved'), text: say('What was written so far is not complete: don’t use it.'), detail: error instanceof Error ? error.message : String(error) });
      setSaid(work.signal.aborted ? t('Saving was stopped.') : '');
    } finally {
      setSaving(-1);
    }
  };
  const isDecrypted = plain !== null && plain !== disk;
  return (
    <section aria-label={t('Content')}>
      <div class="toolbar">
        <form class="tools" onSubmit={jump}>
          <label>
            <span>{t('Offset')}</span>
            <input ref={place} name="offset" spellcheck={false} autocomplete="off" placeholder="0x1000, 4 GiB, -53" />
          </label>
          <button type="submit">{t('Go')}</button>
        </form>
        <form class="tools" onSubmit={(event) => void find(event as SubmitEvent)}>
          <label>
            <span>{isDecrypted ? t('Find in the decrypted content') : t('Find in the bytes on disk')}</span>
            <input name="pattern" spellcheck={false} autocomplete="off" placeholder={kind === 'hex' ? 'f7 cf f4 85' : t('text')} />
          </label>
          <label>
            <span>{t('As')}</span>
            <select value={kind} onChange={({ currentTarget }) => setKind(currentTarget.value as 'text' | 'hex')}>
              <option value="text">{t('text')}</option>
              <option value="hex">{t('bytes')}</option>
            </select>
          </label>
          <button type="submit">{t('Find')}</button>
          {isSearching ? (
            <button type="button" onClick={() => working.current?.abort()}>
              {t('Cancel')}
            </button>
          ) : null}
        </form>
        <div class="tools">
          <label>
            <span>{t('Show as')}</span>
            <select value={reading} onChange={({ currentTarget }) => setReading(currentTarget.value as Reading)}>
              {Object.entries(readings).map(([name, label]) => (
                <option value={name}>{read(label)}</option>
              ))}
            </select>
          </label>
          {saving < 0 ? (
            <button type="button" onClick={() => void download()} disabled={plain === null}>
              {plain === disk ? t('Download') : t('Download decrypted')}
            </button>
          ) : (
            <>
              <progress max={source.size} value={saving} aria-label={t('Saved')} />
              <button type="button" onClick={() => working.current?.abort()}>
                {t('Stop')}
              </button>
            </>
          )}
        </div>
      </div>
      <p class="said" role="status">
        {said}
      </p>
      {reading === 'bytes' ? <Hex plain={plain} disk={disk} offset={offset} mark={mark} onMove={(to) => session.moveTo(to)} /> : <Content source={source} reading={reading} offset={offset} onMove={(to) => session.moveTo(to)} />}
    </section>
  );
}
