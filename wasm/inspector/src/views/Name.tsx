/** Names, which may hold anything, so that they deceive nobody; and buttons that copy. */
import { useState } from 'preact/hooks';
import { piecesOf, shown } from '../model/names.js';
import { t } from '../model/text.js';

/** A name, with what can't be seen in it as escapes. */
export function Name({ of: name, whole = false }: { of: string; whole?: boolean }) {
  return (
    <bdi dir="ltr">
      {piecesOf(name, whole).map(({ text, isEscape }) => (isEscape ? <span class="escape">{text}</span> : text))}
    </bdi>
  );
}

/** A path whose last name stays in sight when there is no room for all of it. */
export function Path({ of: path }: { of: string }) {
  const at = path.lastIndexOf('/') + 1;
  return (
    <span class="pathname" title={shown(path)}>
      <span class="folder">{at ? <Name of={path.slice(0, at)} /> : null}</span>
      <span class="last">
        <Name of={path.slice(at)} />
      </span>
    </span>
  );
}

/** Copies a text as it is. */
export function Copy({ text, label }: { text: () => string; label: string }) {
  const [isDone, setDone] = useState(false);
  return (
    <button
      type="button"
      class="copy"
      aria-label={label}
      title={label}
      onClick={() => {
        void copy(text()).then(setDone);
        setTimeout(() => setDone(false), 2000);
      }}
    >
      {isDone ? t('Copied') : t('Copy')}
    </button>
  );
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without the permission, or the interface: as one would by hand.
    const area = Object.assign(document.createElement('textarea'), { value: text });
    document.body.append(area);
    area.select();
    const isDone = document.execCommand('copy');
    area.remove();
    return isDone;
  }
}
