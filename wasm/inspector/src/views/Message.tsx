/** A message with what to try next. */
import type { Explanation } from '../model/explain.js';

const marks: Record<Explanation['tone'], string> = { bad: 'Problem', warn: 'Attention', good: 'Good', info: 'Note' };

export function Message({ of: { tone, title, text, next, detail }, onClose }: { of: Explanation; onClose?: () => void }) {
  return (
    <section class={`message ${tone}`} role={tone === 'bad' ? 'alert' : 'status'}>
      <h3>
        <span class="mark">{marks[tone]}</span> {title}
      </h3>
      <p>{text}</p>
      {next?.length ? (
        <>
          <p class="try">What to try:</p>
          <ol>
            {next.map((step) => (
              <li>{step}</li>
            ))}
          </ol>
        </>
      ) : null}
      {detail ? (
        <details>
          <summary>In the library’s words</summary>
          <code>{detail}</code>
        </details>
      ) : null}
      {onClose ? (
        <button type="button" class="close" aria-label="Close this message" onClick={onClose}>
          ✕
        </button>
      ) : null}
    </section>
  );
}
