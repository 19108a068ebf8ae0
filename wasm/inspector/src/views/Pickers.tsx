/** How files and the master key come in. */
import { useRef } from 'preact/hooks';
import { fromInput } from '../model/intake.js';
import type { Session } from '../session.js';
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
      <Picker label="Open directory" directory onPick={take} primary={primary ?? false} />
      <Picker label="Open files" many onPick={take} />
      {session.hasContent ? (
        <button type="button" onClick={() => session.clear()}>
          Close all
        </button>
      ) : null}
    </div>
  );
}

/** The key's text goes from the field to the module, and is nowhere else. */
export function MasterKeyForm({ session }: { session: Session }) {
  const field = useRef<HTMLInputElement>(null);
  const use = (event: Event) => {
    event.preventDefault();
    const input = field.current;
    if (!input?.value) return input?.focus();
    const text = input.value;
    input.value = '';
    void session.setMasterKey(text);
  };
  if (session.masterKey) {
    return (
      <div class="group key">
        <span>
          Master key <code>{session.masterKey.reference}</code>
        </span>
        <button type="button" onClick={() => session.forgetMasterKey()}>
          Forget key
        </button>
      </div>
    );
  }
  return (
    <form class="group key" onSubmit={use} autocomplete="off">
      <label>
        <span>Master key</span>
        <input ref={field} type="password" autocomplete="off" spellcheck={false} placeholder="64 hexadecimal digits" aria-invalid={session.masterProblem !== null} />
      </label>
      <button type="submit">Use key</button>
      <Picker label="Load key file" onPick={(files) => files?.[0] && void session.loadMasterKey(files[0])} />
    </form>
  );
}

export function Welcome({ session }: { session: Session }) {
  return (
    <div class="welcome">
      <h2>Look into an encrypted data directory</h2>
      <p class="lead">Drop the directory of a store here, or single files of it. They are read where they lie, in this tab.</p>
      <div class="drop">
        <p>
          <code>key.dict</code> <code>file.dict</code> data files, sealed objects
        </p>
        <Pickers session={session} primary />
      </div>
      {session.masterProblem ? <Message of={session.masterProblem} /> : null}
      {session.notes.map((note) => (
        <Message of={note} />
      ))}
      <dl>
        <dt>Without a key</dt>
        <dd>Which file has which data key and method; each record of the log, and exactly where it is torn or damaged.</dd>
        <dt>With the master key</dt>
        <dd>The keys, their age and exposure; any file in plaintext at any offset, and whether the key is the right one.</dd>
        <dt>Never</dt>
        <dd>A request, a cookie, or anything stored. The page’s policy forbids connections, so the browser enforces it.</dd>
      </dl>
    </div>
  );
}
