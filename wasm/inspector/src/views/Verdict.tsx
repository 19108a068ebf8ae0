/** The verdict over the store, and what has to be said on every view. */
import { shown } from '../model/names.js';
import { everything } from '../model/rows.js';
import type { Finding } from '../model/summary.js';
import { read, say, t } from '../model/text.js';
import type { Session } from '../session.js';
import { Mark, Message } from './Message.js';

/** What was found, the worst first; each sentence leads to what it speaks of. */
export function Verdict({ session }: { session: Session }) {
  const findings = session.store.findings;
  const [worst] = findings;
  if (!worst) return null;
  const go = ({ to }: Finding) => {
    if (typeof to === 'string') return session.show(to);
    session.ask({ ...everything, state: to.state });
    session.show('files');
  };
  return (
    <section class={`verdict ${worst.tone}`} aria-label={t('Verdict')}>
      <Mark tone={worst.tone} />
      <p>
        {findings.map((finding) => (
          <>
            <button type="button" class={`link ${finding.tone}`} onClick={() => go(finding)}>
              {read(finding.text)}
            </button>{' '}
          </>
        ))}
      </p>
    </section>
  );
}

/** Where the log isn't whole, no list of files is. */
export function Incomplete({ session }: { session: Session }) {
  const { fileDict, view } = session;
  if (fileDict?.problem) return view === 'log' ? null : <Message of={fileDict.problem} />;
  const { log, salvaged } = fileDict ?? {};
  if (!log || log.verdict.state === 'complete' || view === 'log' || view === 'overview') return null;
  const lost = salvaged?.lost.map(({ name }) => name).filter((name) => name !== null).slice(0, 3) ?? [];
  return (
    <div class="incomplete">
      <Message
        of={{
          tone: log.verdict.state === 'corrupt' ? 'bad' : 'warn',
          title: say('The list of files is incomplete: the log can be believed up to byte {at} only', { at: log.verdict.at }),
          text: say('Files may have no entry here that had one, and entries may be out of date.{lost}', { lost: lost.length ? say(' Lost is a record of {names}.', { names: lost.map((name) => shown(name ?? '')).join(', ') }) : '' }),
        }}
      />
      <button type="button" onClick={() => session.show('log')}>
        {t('See the log')}
      </button>
    </div>
  );
}
