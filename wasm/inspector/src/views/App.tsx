/** The frame: what is open, the views, and where files are dropped. */
import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import { fromDrop } from '../model/intake.js';
import { grouped, languages, type Language, read, say, type Said, speak, spoken, t } from '../model/text.js';
import type { Session, View } from '../session.js';
import { build } from '../build.js';
import { FileView } from './FileView.js';
import { FilesView } from './FilesView.js';
import { LogView } from './LogView.js';
import { Message } from './Message.js';
import { Overview } from './Overview.js';
import { Dictionaries, MasterKeyForm, Pickers, Stores, Welcome } from './Pickers.js';
import { Incomplete, Verdict } from './Verdict.js';

const views: readonly (readonly [View, Said])[] = [
  ['overview', say('Overview')],
  ['files', say('Files')],
  ['log', say('Log')],
  ['file', say('File')],
];

export function App({ session }: { session: Session }) {
  const [, redraw] = useReducer((times: number) => times + 1, 0);
  useEffect(() => session.subscribe(() => redraw(undefined)), [session]);
  const dropping = useDrop(session);
  const main = useRef<HTMLElement>(null);
  // Whoever uses the keyboard goes on in the view that was opened.
  useEffect(() => {
    if (session.hasContent) main.current?.focus({ preventScroll: true });
  }, [session.view, session.store]);
  useEffect(() => {
    document.documentElement.lang = spoken() === 'zh' ? 'zh-CN' : 'en';
  });

  const { view, notes, store } = session;
  const busy = session.busy ? read(session.busy) : '';
  return (
    <div class={dropping ? 'app dropping' : 'app'}>
      <header>
        <h1>
          Stillkey <span>{t('inspector')}</span>
        </h1>
        {session.hasContent ? (
          <nav aria-label={t('Views')}>
            {views.map(([name, label]) => (
              <button type="button" data-view={name} aria-current={view === name ? 'page' : undefined} onClick={() => session.show(name)}>
                {read(label)}
                {name === 'files' && session.listing.length ? <span class="count">{grouped(session.listing.length)}</span> : null}
              </button>
            ))}
          </nav>
        ) : null}
        <p class="promise">{t('Files stay in this tab: the page connects to nothing, and its policy forbids requests.')}</p>
        <label class="language">
          <span>{'Language / 语言'}</span>
          <select
            value={spoken()}
            onChange={({ currentTarget }) => {
              speak(currentTarget.value as Language);
              redraw(undefined);
            }}
          >
            {Object.entries(languages).map(([code, name]) => (
              <option value={code}>{name}</option>
            ))}
          </select>
        </label>
      </header>
      <main ref={main} tabIndex={-1}>
        <div class="busy">
          <span role="status">{busy}</span>
          {session.canCancel ? (
            <>
              <progress aria-label={busy} />
              <button type="button" onClick={() => session.cancel()}>
                {t('Cancel')}
              </button>
            </>
          ) : null}
        </div>
        {session.hasContent ? (
          <>
            <div class="bar">
              <Pickers session={session} />
              <Stores session={session} />
              <Dictionaries session={session} />
              <MasterKeyForm session={session} />
            </div>
            {store.masterProblem ? <Message of={store.masterProblem} /> : null}
            {notes.map((note, at) => (
              <Message of={note} {...(at === 0 ? { onClose: () => session.dismissNotes() } : {})} />
            ))}
            {view === 'overview' ? <Verdict session={session} /> : <Incomplete session={session} />}
            {view === 'overview' ? <Overview session={session} /> : null}
            {view === 'files' ? <FilesView session={session} /> : null}
            {view === 'log' ? <LogView key={store.name} session={session} /> : null}
            {view === 'file' ? <FileView session={session} /> : null}
          </>
        ) : (
          <Welcome session={session} />
        )}
      </main>
      <footer>
        <p>
          {t('Version {version}, build {hash}', { version: build.version, hash: build.hash })}
        </p>
      </footer>
    </div>
  );
}

/** Takes drops anywhere on the page; whether something is being dragged over it. */
function useDrop(session: Session): boolean {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const onOver = (event: DragEvent) => {
      event.preventDefault();
      setOver(true);
    };
    const onLeave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const onDrop = (event: DragEvent) => {
      event.preventDefault();
      setOver(false);
      if (!event.dataTransfer) return;
      fromDrop(event.dataTransfer).then(
        (files) => session.add(files),
        () =>
          session.note({
            tone: 'bad',
            title: say('What was dropped can’t be read'),
            text: say('The browser gave no access to a file or a directory in it.'),
            next: [say('Use “Open directory” instead.'), say('Look at the permissions of the files.')],
          }),
      );
    };
    addEventListener('dragover', onOver);
    addEventListener('dragleave', onLeave);
    addEventListener('drop', onDrop);
    return () => {
      removeEventListener('dragover', onOver);
      removeEventListener('dragleave', onLeave);
      removeEventListener('drop', onDrop);
    };
  }, [session]);
  return over;
}
