/** A message with what to try next. */
import type { Explanation } from '../model/findings.js';
import { read, say, type Said, t } from '../model/text.js';

const marks: Record<Explanation['tone'], Said> = { bad: say('Problem'), warn: say('Attention'), good: say('Good'), info: say('Note') };

/** The word for a tone, since colours alone say nothing to some. */
export function Mark({ tone }: { tone: Explanation['tone'] }) {
  return <span class="mark">{read(marks[tone])}</span>;
}

export function Message({ of: { tone, title, text, next, detail }, onClose }: { of: Explanation; onClose?: () => void }) {
  return (
    <section class={`message ${tone}`} role={tone === 'bad' ? 'alert' : 'status'}>
      <h3>
        <Mark tone={tone} /> {read(title)}
      </h3>
      <p>{read(text)}</p>
      {next?.length ? (
        <>
          <p class="try">{t('What to try:')}</p>
          <ol>
            {next.map((step) => (
              <li>{read(step)}</li>
            ))}
          </ol>
        </>
      ) : null}
      {detail ? (
        <details>
          <summary>{t('In the library’s words')}</summary>
          <code>{detail}</code>
        </details>
      ) : null}
      {onClose ? (
        <button type="button" class="close" aria-label={t('Close this message')} onClick={onClose}>
          ✕
        </button>
      ) : null}
    </section>
  );
}
