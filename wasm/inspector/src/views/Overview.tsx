/** What the dictionaries say as a whole: forms, keys, and what uses them. */
import { useMemo } from 'preact/hooks';
import { date, duration, grouped, size } from '../model/bytes.js';
import { explainLog } from '../model/explain.js';
import { MOST_KEYS, tagName, useOf } from '../model/keys.js';
import { everything } from '../model/rows.js';
import { read, say, t } from '../model/text.js';
import type { Session } from '../session.js';
import { KeyChart } from './KeyChart.js';
import { Message } from './Message.js';
import { Name } from './Name.js';

const dueWords = {
  'no-current-key': say('yes: there is no current key yet'),
  'method-changed': say('yes: the method was changed'),
  exposed: say('yes: the current key was exposed'),
  expired: say('yes: the current key is older than seven days'),
  'created-in-the-future': say('yes: the current key was made in the future; a clock is wrong'),
};

const ends = { complete: say('complete'), 'torn-tail': say('its last record is not whole'), corrupt: say('damaged') };

export function Overview({ session }: { session: Session }) {
  const { keyDict, fileDict } = session;
  const now = Math.floor(Date.now() / 1000);
  const { states, keys } = session.listing;
  const known = keyDict?.keys ?? null;
  const use = useMemo(() => useOf(known, keys), [known, keys]);
  const shown = use.slice(0, MOST_KEYS);
  const current = known?.find(({ isCurrent }) => isCurrent);
  const due = keyDict?.handle?.rotationDue(
    { ...(current && current.method !== 'unknown' ? { method: current.method } : {}) },
    keyDict.sealing?.method !== 'plaintext',
    now,
  );
  const { dictionary, log } = fileDict ?? {};
  return (
    <>
      <h2>{t('Overview')}</h2>
      {current?.method === 'plaintext' ? (
        <Message
          of={{
            tone: 'bad',
            title: say('New files are written unencrypted'),
            text: say('The current key is of the method plaintext: encryption was switched off, and what the store writes from then on lies on disk as it is. Files from before keep their encryption.'),
            next: [say('If that wasn’t meant, set the store’s data encryption method, and have it start again: it makes a new key. Files that were written meanwhile stay in plaintext until they are rewritten.')],
          }}
        />
      ) : null}
      {keyDict?.problem ? <Message of={keyDict.problem} /> : null}
      {keyDict?.sealing?.method === 'plaintext' && keyDict.keys ? (
        <Message
          of={{
            tone: 'warn',
            title: say('The data keys lie in the clear'),
            text: say('key.dict is not sealed by any master key: whoever reads it can decrypt everything.'),
            next: [say('Configure a master key for the store. Keys that were exposed stay marked, and are replaced for new files.')],
          }}
        />
      ) : null}
      {fileDict?.problem ? <Message of={fileDict.problem} /> : null}
      {log && log.verdict.state !== 'complete' ? <Message of={explainLog(log)} /> : null}
      <div class="facts">
        <section>
          <h3>{'key.dict'}</h3>
          {keyDict ? (
            <dl>
              <dt>{t('File')}</dt>
              <dd class="path"><Name of={keyDict.picked.path} /></dd>
              <dt>{t('Sealed with')}</dt>
              <dd>{keyDict.sealing ? (keyDict.sealing.vendor ? t('key service {vendor}', { vendor: keyDict.sealing.vendor }) : (keyDict.sealing.method ?? t('not named'))) : t('not readable')}</dd>
              <dt>{t('Keys')}</dt>
              <dd>{keyDict.keys ? grouped(keyDict.keys.length) : t('not open')}</dd>
              <dt>{t('Current key')}</dt>
              <dd>{keyDict.keys ? (current ? <code>{String(current.id)}</code> : t('none')) : t('not open')}</dd>
              <dt>{t('Method')}</dt>
              <dd>{keyDict.keys ? (current?.method ?? t('none')) : t('not open')}</dd>
              <dt>{t('Rotation due')}</dt>
              <dd>{keyDict.handle ? (due ? read(dueWords[due]) : t('no')) : t('not open')}</dd>
            </dl>
          ) : (
            <p>{t('Not picked. Without it, names and methods can be seen, and no content.')}</p>
          )}
        </section>
        <section>
          <h3>{'file.dict'}</h3>
          {fileDict ? (
            <dl>
              <dt>{t('File')}</dt>
              <dd class="path"><Name of={fileDict.picked.path} /></dd>
              <dt>{t('Size')}</dt>
              <dd>{size(fileDict.picked.file.size)}</dd>
              <dt>{t('Version')}</dt>
              <dd>{dictionary ? (dictionary.version === 2 ? t('2, with a log') : t('1, rewritten on every change')) : t('not readable')}</dd>
              <dt>{t('Entries')}</dt>
              <dd>{dictionary ? grouped(dictionary.entryCount) : t('not readable')}</dd>
              <dt>{t('Records')}</dt>
              <dd>{dictionary ? grouped(dictionary.recordCount) : t('not readable')}</dd>
              <dt>{t('End')}</dt>
              <dd>{dictionary ? read(ends[dictionary.verdict.state]) : t('not readable')}</dd>
            </dl>
          ) : (
            <p>{t('Not picked. Without it, nothing says which key a file has.')}</p>
          )}
        </section>
        <section>
          <h3>{t('Files')}</h3>
          <dl>
            <dt>{t('Picked')}</dt>
            <dd>{grouped(session.picked.length)}</dd>
            <dt>{t('Ready to read')}</dt>
            <dd>{grouped(states.get('ready') ?? 0)}</dd>
            <dt>{t('Key missing')}</dt>
            <dd>{grouped(states.get('key missing') ?? 0)}</dd>
            <dt>{t('Without entry')}</dt>
            <dd>{grouped(states.get('no entry') ?? 0)}</dd>
          </dl>
        </section>
      </div>
      {use.length ? (
        <section class="keys">
          <h3>{t('Data keys')}</h3>
          <KeyChart use={shown} />
          {shown.length < use.length ? <p class="found">{known ? t('Shown are {n} of {all|key|keys}: the current one, and the newest.', { n: shown.length, all: use.length }) : t('Shown are {n} of {all|key|keys}.', { n: shown.length, all: use.length })}</p> : null}
          <div class="scroll" tabIndex={0} role="region" aria-label={t('Table of data keys')}>
            <table>
              <caption>{t('Each data key, and what uses it')}</caption>
              <thead>
                <tr>
                  <th scope="col">{t('Key')}</th>
                  <th scope="col">{t('Method')}</th>
                  <th scope="col">{t('Made')}</th>
                  <th scope="col">{t('Age')}</th>
                  <th scope="col">{t('State')}</th>
                  <th scope="col" class="number">{t('Files')}</th>
                  <th scope="col" class="number">{t('Size of picked')}</th>
                </tr>
              </thead>
              <tbody>
                {shown.map((key) => (
                  <tr>
                    <td>
                      <button
                        type="button"
                        class="link"
                        onClick={() => {
                          session.ask({ ...everything, key: key.id });
                          session.show('files');
                        }}
                      >
                        <code>{key.id}</code>
                      </button>
                    </td>
                    <td>{key.methods.join(', ') || 'plaintext'}</td>
                    <td>{key.made === null ? t('unknown') : date(key.made)}</td>
                    <td>{key.made === null ? t('unknown') : duration(now - Number(key.made))}</td>
                    <td>
                      {key.tags.map((tag) => (
                        <span class={`tag ${tag}`}>{read(tagName[tag])}</span>
                      ))}
                    </td>
                    <td class="number">{grouped(key.files)}</td>
                    <td class="number">{key.bytes ? size(key.bytes) : '–'}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      ) : null}
    </>
  );
}
