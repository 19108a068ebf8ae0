/** One file: what is known about it, whether its key is right, and its bytes. */
import type { FileDictionary } from 'stillkey';
import { useEffect, useRef, useState } from 'preact/hooks';
import { grouped, indexOf, parseOffset, parsePattern, size, toHex } from '../model/bytes.js';
import { explain } from '../model/explain.js';
import { baseName } from '../model/intake.js';
import { search, type Source } from '../model/source.js';
import { save } from '../save.js';
import type { Opened, Session } from '../session.js';
import { Hex, type Mark } from './Hex.js';
import { Message } from './Message.js';

/** How far one search goes before it asks for the next, in bytes. */
const WINDOW = 256 << 20;

/** How many names are offered at once. */
const OFFERED = 50;

export function FileView({ session }: { session: Session }) {
  const { opened } = session;
  if (!opened) {
    return (
      <>
        <h2>File</h2>
        <p class="nothing">
          No file is open.{' '}
          <button type="button" onClick={() => session.show('files')}>
            Choose one
          </button>
        </p>
      </>
    );
  }
  const { row, messages, sealed } = opened;
  return (
    <>
      <h2 class="path">{row.name}</h2>
      {messages.map((message) => (
        <Message of={message} />
      ))}
      <dl class="about">
        {row.picked && row.picked.path !== row.name ? <Fact name="Picked file" value={row.picked.path} /> : null}
        {row.picked ? <Fact name="Size" value={`${size(row.picked.file.size)}${row.picked.file.size >= 1024 ? ` (${grouped(row.picked.file.size)} bytes)` : ''}`} /> : null}
        {row.entry ? <Fact name="Method" value={row.method} /> : null}
        {row.key ? <Fact name="Data key" value={row.key} code /> : null}
        {row.entry?.iv.length ? <Fact name="Initialization vector" value={toHex(row.entry.iv)} code /> : null}
        {sealed ? (
          <>
            <Fact name="Suite" value={sealed.chunkSize === null ? `${sealed.suite}, a stream without integrity` : `${sealed.suite}, chunks of ${size(sealed.chunkSize)}`} />
            <Fact name="Opened by" value={sealed.recipients.map(({ reference, provider }) => (provider === 1 ? reference : `${reference} (key service ${provider})`)).join(', ')} code />
          </>
        ) : null}
      </dl>
      <Bindings session={session} opened={opened} />
      {row.picked ? <Bytes key={row.picked.path + row.name} session={session} opened={opened} /> : null}
    </>
  );
}

function Fact({ name, value, code }: { name: string; value: string; code?: boolean }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{code ? <code>{value}</code> : value}</dd>
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
          <span>Encryption context, one name=value on each line</span>
          <textarea name="context" rows={2} spellcheck={false} defaultValue={opened.context} />
        </label>
        <button type="submit">Open with it</button>
      </form>
    );
  }
  const { dictionary } = session.fileDict ?? {};
  if (!row.entry) return dictionary?.entryCount && row.picked ? <Choice label="Read as the entry" names={entryNames(dictionary)} onChoose={(name) => row.picked && void session.bind(name, row.picked)} /> : null;
  const entryName = row.entry.name;
  return (
    <details class="more" open={!row.picked}>
      <summary>Another file, or a page file of TiFlash</summary>
      {session.picked.length ? (
        <Choice
          label="File of this entry"
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
          <span>TiFlash page file name</span>
          <input name="tiflash" spellcheck={false} autocomplete="off" defaultValue={opened.tiflashName} placeholder="none" />
        </label>
        <button type="submit">Use</button>
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
        <input list={id} value={typed} spellcheck={false} autocomplete="off" placeholder="part of its name" onInput={({ currentTarget }) => setTyped(currentTarget.value)} />
      </label>
      <datalist id={id}>
        {offered.map((name) => (
          <option value={name} />
        ))}
      </datalist>
      <button type="submit" disabled={exact === undefined}>
        Use
      </button>
    </form>
  );
}

function Bytes({ session, opened }: { session: Session; opened: Opened }) {
  const { plain, disk, row } = opened;
  const source: Source = plain ?? disk;
  const [offset, setOffset] = useState(0);
  const [mark, setMark] = useState<Mark | null>(null);
  const [said, setSaid] = useState('');
  const [kind, setKind] = useState<'text' | 'hex'>('text');
  const [saving, setSaving] = useState(-1);
  const working = useRef<AbortController | null>(null);
  const place = useRef<HTMLInputElement>(null);
  useEffect(() => () => working.current?.abort(), []);
  if (source.size === 0) return null;

  const jump = (event: Event) => {
    event.preventDefault();
    const to = parseOffset(place.current?.value ?? '', source.size);
    if (to === null) return setSaid(`An offset is a number from 0 to ${grouped(source.size - 1)}: 4096, 0x1000, 4 GiB, or -53 from the end.`);
    setOffset(to);
    setMark({ at: to, length: 1 });
    setSaid(`At byte ${grouped(to)}.`);
  };
  const find = async (event: SubmitEvent) => {
    event.preventDefault();
    const pattern = parsePattern(String(new FormData(event.currentTarget as HTMLFormElement).get('pattern') ?? ''), kind);
    if (!pattern) return setSaid(kind === 'hex' ? 'Type whole bytes as pairs of hexadecimal digits.' : 'Type what to look for.');
    const from = mark ? mark.at + 1 : offset;
    working.current?.abort();
    const work = (working.current = new AbortController());
    const end = Math.min(source.size, from + WINDOW);
    setSaid('Searching…');
    try {
      const found = await search(source, pattern, from, WINDOW, indexOf, work.signal);
      if (found === null) {
        setSaid(end < source.size ? `Not within ${size(WINDOW)} from byte ${grouped(from)}. Press Find again to go on.` : `Not from byte ${grouped(from)} to the end.`);
        if (end < source.size) setMark({ at: end - pattern.length, length: 0 });
        return;
      }
      setOffset(Math.max(0, found - 64));
      setMark({ at: found, length: pattern.length });
      setSaid(`Found at byte ${grouped(found)} (0x${found.toString(16)}).`);
    } catch (error) {
      if (!work.signal.aborted) session.note(explain(error, 'file'));
    }
  };
  const download = async () => {
    const work = new AbortController();
    working.current = work;
    setSaving(0);
    try {
      const name = `${baseName(row.name)}${plain && plain !== disk ? '.decrypted' : ''}`;
      const isDone = await save(source, name, setSaving, work.signal);
      setSaid(isDone ? `Saved ${grouped(source.size)} bytes.` : 'Not saved.');
    } catch (error) {
      if (!work.signal.aborted) session.note({ tone: 'bad', title: 'The file could not be saved', text: 'What was written so far is not complete: don’t use it.', detail: error instanceof Error ? error.message : String(error) });
      setSaid(work.signal.aborted ? 'Saving was stopped.' : '');
    } finally {
      setSaving(-1);
    }
  };
  return (
    <section aria-label="Content">
      <div class="toolbar">
        <form class="tools" onSubmit={jump}>
          <label>
            <span>Offset</span>
            <input ref={place} name="offset" spellcheck={false} autocomplete="off" placeholder="0x1000, 4 GiB, -53" />
          </label>
          <button type="submit">Go</button>
        </form>
        <form class="tools" onSubmit={(event) => void find(event as SubmitEvent)}>
          <label>
            <span>Find {plain && plain !== disk ? 'in the decrypted content' : 'in the bytes on disk'}</span>
            <input name="pattern" spellcheck={false} autocomplete="off" placeholder={kind === 'hex' ? 'f7 cf f4 85' : 'text'} />
          </label>
          <label>
            <span>As</span>
            <select value={kind} onChange={({ currentTarget }) => setKind(currentTarget.value as 'text' | 'hex')}>
              <option value="text">text</option>
              <option value="hex">bytes</option>
            </select>
          </label>
          <button type="submit">Find</button>
        </form>
        <div class="tools">
          {saving < 0 ? (
            <button type="button" onClick={() => void download()} disabled={plain === null}>
              {plain === disk ? 'Download' : 'Download decrypted'}
            </button>
          ) : (
            <>
              <progress max={source.size} value={saving} aria-label="Saved" />
              <button type="button" onClick={() => working.current?.abort()}>
                Stop
              </button>
            </>
          )}
        </div>
      </div>
      <p class="said" role="status">
        {said}
      </p>
      <Hex plain={plain} disk={disk} offset={offset} mark={mark} onMove={setOffset} />
    </section>
  );
}
