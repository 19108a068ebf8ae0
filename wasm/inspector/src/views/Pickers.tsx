/** How files and the master key come in. */
import { useEffect, useRef } from 'preact/hooks';
import { fromInput, type Picked } from '../model/intake.js';
import type { Session } from '../session.js';
import { shown } from '../model/names.js';
import { t } from '../model/text.js';
import { Message } from './Message.js';

/** A button that opens the browser's dialogue; the input behind it is what the dialogue needs. */
function Picker({ label, onPick, directory, many, primary }: { label: string; onPick: (files: FileList | null) => void; directory?: boolean; many?: boolean; primary?: boolean }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" class={primary ? 'primary' : ''} onClick={() => input.current?.click()}>
        {label}
      </button>
      <input
        ref={input}
        type="file"
        hidden
        aria-label={label}
        multiple={many ?? false}
        {...(directory ? { webkitdirectory: true } : {})}
        onChange={({ currentTarget }) => {
          onPick(currentTarget.files);
          // Picking the same again shall read it again.
          currentTarget.value = '';
        }}
      />
    </>
  );
}

export function Pickers({ session, primary }: { session: Session; primary?: boolean }) {
  const take = (files: FileList | null) => void session.add(fromInput(files));
  return (
    <div class="group">
      <Picker label={t('Open directory')} directory onPick={take} primary={primary ?? false} />
      <Picker label={t('Open files')} many onPick={take} />
      {session.hasContent ? (
        <button type="button" onClick={() => session.clear()}>
          {t('Close all')}
        </button>
      ) : null}
    </div>
  );
}

/** The stores that are open, where there are several. */
export function Stores({ session }: { session: Session }) {
  const { stores, store } = session;
  if (stores.length < 2) return null;
  return (
    <label class="stores">
      <span>{t('Store')}</span>
      <select
        value={String(stores.indexOf(store))}
        onChange={({ currentTarget }) => {
          const chosen = stores[Number(currentTarget.value)];
          if (chosen) void session.goTo(chosen);
        }}
      >
        {stores.map(({ name }, at) => (
          <option value={String(at)}>{shown(name)}</option>
        ))}
      </select>
    </label>
  );
}

/** Which dictionaries are used, where a store has several. */
export function Dictionaries({ session }: { session: Session }) {
  const { keyDicts, fileDicts, keyDict, fileDict } = session.store;
  if (keyDicts.length < 2 && fileDicts.length < 2) return null;
  const choice = (role: 'key.dict' | 'file.dict', all: readonly Picked[], current: Picked | undefined) =>
    all.length ? (
      <label>
        <span>{role}</span>
        <select
          value={current ? String(all.indexOf(current)) : ''}
          onChange={({ currentTarget }) => {
            const chosen = all[Number(currentTarget.value)];
            if (chosen) void session.choose(role, chosen);
          }}
        >
          {current ? null : (
            <option value="" disabled>
              {t('choose…')}
            </option>
          )}
          {all.map(({ path, file }, at) => (
            <option value={String(at)}>{`${shown(path)}, ${new Date(file.lastModified).toISOString().slice(0, 16).replace('T', ' ')} UTC`}</option>
          ))}
        </select>
      </label>
    ) : null;
  return (
    <div class="group dictionaries">
      {choice('key.dict', keyDicts, keyDict?.picked)}
      {choice('file.dict', fileDicts, fileDict?.picked)}
    </div>
  );
}

/** The key's text goes from the field to the module, and is nowhere else. */
export function MasterKeyForm({ session }: { session: Session }) {
  const { store, opened } = session;
  const field = useRef<HTMLInputElement>(null);
  const done = useRef<HTMLButtonElement>(null);
  const wasUsed = useRef(false);
  const isRefused = store.keyDict?.isBroken === true || (opened?.sealed !== undefined && opened?.sealed !== null && opened.plain === null);
  const fits = store.masterKey !== null && !isRefused;
  // The field goes when its key fits; who typed it goes on from where it was.
  useEffect(() => {
    if (fits && wasUsed.current) done.current?.focus();
    wasUsed.current = false;
  }, [fits]);
  const use = (event: Event) => {
    event.preventDefault();
    const input = field.current;
    if (!input?.value) return input?.focus();
    wasUsed.current = true;
    void session.setMasterKey(input.value).then((opens) => {
      // What is mistyped can be corrected; what is well-formed, right or wrong, needn't stay.
      if (opens || session.masterKey) input.value = '';
      if (!opens) input.focus();
    });
  };
  const reference = store.masterKey ? (
    <>
      <span>
        {t('Master key')} <code>{store.masterKey.reference}</code>
      </span>
      <button ref={done} type="button" onClick={() => session.forgetMasterKey()}>
        {t('Forget key')}
      </button>
    </>
  ) : null;
  if (fits) return <div class="group key">{reference}</div>;
  return (
    <form class="group key" onSubmit={use} autocomplete="off">
      {reference}
      <label>
        <span>{t('Master key')}</span>
        <input ref={field} type="password" autocomplete="off" spellcheck={false} placeholder={t('64 hexadecimal digits')} aria-invalid={store.masterProblem !== null} />
      </label>
      <button type="submit">{t('Use key')}</button>
      <Picker label={t('Load key file')} onPick={(files) => files?.[0] && void session.loadMasterKey(files[0])} />
    </form>
  );
}

export function Welcome({ session }: { session: Session }) {
  return (
    <div class="welcome">
      <h2>{t('Look into an encrypted data directory')}</h2>
      <p class="lead">{t('Drop the directory of a store here, or single files of it. They are read where they lie, in this tab.')}</p>
      <div class="drop">
        <p>
          <code>key.dict</code> <code>file.dict</code> {t('data files, sealed objects')}
        </p>
        <Pickers session={session} primary />
      </div>
      {session.store.masterProblem ? <Message of={session.store.masterProblem} /> : null}
      {session.notes.map((note) => (
        <Message of={note} />
      ))}
      <dl>
        <dt>{t('Without a key')}</dt>
        <dd>{t('Which file has which data key and method; each record of the log, and exactly where it is torn or damaged.')}</dd>
        <dt>{t('With the master key')}</dt>
        <dd>{t('The keys, their age and exposure; any file in plaintext at any offset, and whether the key is the right one.')}</dd>
        <dt>{t('What the page can’t do')}</dt>
        <dd>
          {t(
            'Its policy forbids every request, to its own server too, and lets no script run but its own, whose hash stands below; the browser enforces that. Two ways out are closed by no policy in today’s browsers: sending the tab to another address, and WebRTC. The page’s script uses neither. It stores nothing.',
          )}
        </dd>
      </dl>
    </div>
  );
}
