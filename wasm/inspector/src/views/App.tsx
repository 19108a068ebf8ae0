/** The frame: what is open, the views, and where files are dropped. */
import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import { count } from '../model/bytes.js';
import { fromDrop } from '../model/intake.js';
import type { Session, View } from '../session.js';
import { FileView } from './FileView.js';
import { FilesView } from './FilesView.js';
import { LogView } from './LogView.js';
import { Message } from './Message.js';
import { Overview } from './Overview.js';
import { MasterKeyForm, Pickers, Welcome } from './Pickers.js';

const views: readonly (readonly [View, string])[] = [
  ['overview', 'Overview'],
  ['files', 'Files'],
  ['log', 'Log'],
  ['file', 'File'],
];

export function App({ session }: { session: Session }) {
  const [, redraw] = useReducer((times: number) => times + 1, 0);
  useEffect(() => session.subscribe(() => redraw(undefined)), [session]);
  const dropping = useDrop(session);
  const main = useRef<HTMLElement>(null);
  // Whoever uses the keyboard goes on in the view that was opened.
  useEffect(() => {
    if (session.hasContent) main.current?.focus({ preventScroll: true });
  }, [session.view]);

  const { view, notes, busy } = session;
  return (
    <div class={dropping ? 'app dropping' : 'app'}>
      <header>
        <h1>
          Stillkey <span>inspector</span>
        </h1>
        {session.hasContent ? (
          <nav aria-label="Views">
            {views.map(([name, label]) => (
              <button type="button" aria-current={view === name ? 'page' : undefined} onClick={() => session.show(name)}>
                {label}
                {name === 'files' && session.listing.length ? <span class="count">{count(session.listing.length, '', '').trim()}</span> : null}
              </button>
            ))}
          </nav>
        ) : null}
        <p class="promise">Everything stays in this tab: the page can’t connect to anything.</p>
      </header>
      <main ref={main} tabIndex={-1}>
        <div class="busy">
          <span role="status">{busy}</span>
          {session.canCancel ? (
            <>
              <progress aria-label={busy} />
              <button type="button" onClick={() => session.cancel()}>
                Cancel
              </button>
            </>
          ) : null}
        </div>
        {session.hasContent ? (
          <>
            <div class="bar">
              <Pickers session={session} />
              <MasterKeyForm session={session} />
            </div>
            {session.masterProblem ? <Message of={session.masterProblem} /> : null}
            {notes.map((note, at) => (
              <Message of={note} {...(at === 0 ? { onClose: () => session.dismissNotes() } : {})} />
            ))}
            {view === 'overview' ? <Overview session={session} /> : null}
            {view === 'files' ? <FilesView session={session} /> : null}
            {view === 'log' ? <LogView session={session} /> : null}
            {view === 'file' ? <FileView session={session} /> : null}
          </>
        ) : (
          <Welcome session={session} />
        )}
      </main>
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
        () => session.note({ tone: 'bad', title: 'What was dropped can’t be read', text: 'The browser gave no access to a file or a directory in it.', next: ['Use “Open directory” instead.', 'Look at the permissions of the files.'] }),
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
