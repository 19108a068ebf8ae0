/** Content as text or as JSON: a window of it, for files of any size. */
import { useEffect, useState } from 'preact/hooks';
import { explain, type Explanation } from '../model/explain.js';
import type { Source } from '../model/source.js';
import { type Said, say, t } from '../model/text.js';
import { Message } from './Message.js';

export const readings = { bytes: say('bytes'), text: say('text'), json: say('JSON') } satisfies Record<string, Said>;
export type Reading = keyof typeof readings;

/** How much text is shown at once, in bytes. */
const WINDOW = 64 << 10;

/** JSON that is longer is shown as text. */
const MOST_JSON = 4 << 20;

export function Content({ source, reading, offset, onMove }: { source: Source; reading: Exclude<Reading, 'bytes'>; offset: number; onMove: (offset: number) => void }) {
  const [shown, setShown] = useState<{ text: string; from: number; to: number; note: string } | null>(null);
  const [problem, setProblem] = useState<Explanation | null>(null);
  const isWhole = reading === 'json' && source.size <= MOST_JSON;
  const from = isWhole ? 0 : offset;
  useEffect(() => {
    let isCurrent = true;
    const to = isWhole ? source.size : Math.min(source.size, from + WINDOW);
    source.read(from, to).then(
      (bytes) => {
        if (!isCurrent) return;
        setProblem(null);
        setShown({ from, to, ...(reading === 'json' ? asJson(bytes, source.size) : { text: asText(bytes), note: '' }) });
      },
      (error: unknown) => {
        if (isCurrent) setProblem(explain(error, 'file'));
      },
    );
    return () => {
      isCurrent = false;
    };
  }, [source, reading, from]);
  if (problem) return <Message of={problem} />;
  if (!shown) return null;
  return (
    <div class="content">
      <p class="found">
        {t('Bytes {from} to {to} of {size}.', { from: shown.from, to: shown.to, size: source.size })} {shown.note}
      </p>
      <pre class="text" tabIndex={0} aria-label={t('Content')}>
        {shown.text}
      </pre>
      {isWhole || source.size <= WINDOW ? null : (
        <div class="group">
          <button type="button" disabled={from === 0} onClick={() => onMove(Math.max(0, from - WINDOW))}>
            {t('Before')}
          </button>
          <button type="button" disabled={shown.to >= source.size} onClick={() => onMove(shown.to)}>
            {t('After')}
          </button>
        </div>
      )}
    </div>
  );
}

/** UTF-8, from the first whole character on; what is none, or can't be seen, as a sign for it. */
export function asText(bytes: Uint8Array): string {
  let start = 0;
  while (start < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++;
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(start), { stream: true });
  // Controls as their pictures; what turns text around or can't be seen, as a replacement.
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, (control) => (control === '\r' ? '' : String.fromCharCode(control === '\x7f' ? 0x2421 : 0x2400 + control.charCodeAt(0)))).replace(/[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/g, '\ufffd');
}

function asJson(bytes: Uint8Array, size: number): { text: string; note: string } {
  if (size > MOST_JSON) return { text: asText(bytes), note: t('Too long to be parsed as JSON: shown as text.') };
  try {
    return { text: JSON.stringify(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)), null, 2), note: '' };
  } catch (error) {
    return { text: asText(bytes), note: t('Not JSON: {why}', { why: error instanceof Error ? error.message : String(error) }) };
  }
}
