/** What the dictionaries say as a whole: forms, keys, and what uses them. */
import { useMemo } from 'preact/hooks';
import { count, date, duration, grouped, size } from '../model/bytes.js';
import { explainLog } from '../model/explain.js';
import { MOST_KEYS, useOf } from '../model/keys.js';
import type { Session } from '../session.js';
import { KeyChart } from './KeyChart.js';
import { Message } from './Message.js';

const dueWords = {
  'no-current-key': 'yes: there is no current key yet',
  'method-changed': 'yes: the method was changed',
  exposed: 'yes: the current key was exposed',
  expired: 'yes: the current key is older than seven days',
  'created-in-the-future': 'yes: the current key was made in the future; a clock is wrong',
};

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
  const dictionary = fileDict?.dictionary;
  return (
    <>
      <h2>Overview</h2>
      {keyDict?.problem ? <Message of={keyDict.problem} /> : null}
      {keyDict?.sealing?.method === 'plaintext' && keyDict.keys ? (
        <Message
          of={{
            tone: 'warn',
            title: 'The data keys lie in the clear',
            text: 'key.dict is not sealed by any master key: whoever reads it can decrypt everything.',
            next: ['Configure a master key for the store. Keys that were exposed stay marked, and are replaced for new files.'],
          }}
        />
      ) : null}
      {fileDict?.problem ? <Message of={fileDict.problem} /> : null}
      {dictionary && fileDict && dictionary.verdict.state !== 'complete' ? (
        <Message of={explainLog(dictionary.verdict, fileDict.tikv, dictionary.recordCount, fileDict.size)} />
      ) : null}
      <div class="facts">
        <section>
          <h3>key.dict</h3>
          {keyDict ? (
            <dl>
              <dt>File</dt>
              <dd class="path">{keyDict.path}</dd>
              <dt>Sealed with</dt>
              <dd>{keyDict.sealing ? (keyDict.sealing.vendor ? `key service ${keyDict.sealing.vendor}` : (keyDict.sealing.method ?? 'not named')) : 'not readable'}</dd>
              <dt>Keys</dt>
              <dd>{keyDict.keys ? grouped(keyDict.keys.length) : 'not open'}</dd>
              <dt>Current key</dt>
              <dd>{keyDict.keys ? (current ? <code>{String(current.id)}</code> : 'none') : 'not open'}</dd>
              <dt>Method</dt>
              <dd>{keyDict.keys ? (current?.method ?? 'none') : 'not open'}</dd>
              <dt>Rotation due</dt>
              <dd>{keyDict.handle ? (due ? dueWords[due] : 'no') : 'not open'}</dd>
            </dl>
          ) : (
            <p>Not picked. Without it, names and methods can be seen, and no content.</p>
          )}
        </section>
        <section>
          <h3>file.dict</h3>
          {fileDict ? (
            <dl>
              <dt>File</dt>
              <dd class="path">{fileDict.path}</dd>
              <dt>Size</dt>
              <dd>{size(fileDict.size)}</dd>
              <dt>Version</dt>
              <dd>{dictionary ? (dictionary.version === 2 ? '2, with a log' : '1, rewritten on every change') : 'not readable'}</dd>
              <dt>Entries</dt>
              <dd>{dictionary ? grouped(dictionary.entryCount) : 'not readable'}</dd>
              <dt>Records</dt>
              <dd>{dictionary ? grouped(dictionary.recordCount) : 'not readable'}</dd>
              <dt>End</dt>
              <dd>{dictionary ? { complete: 'complete', 'torn-tail': 'last append cut off', corrupt: 'damaged' }[dictionary.verdict.state] : 'not readable'}</dd>
            </dl>
          ) : (
            <p>Not picked. Without it, nothing says which key a file has.</p>
          )}
        </section>
        <section>
          <h3>Files</h3>
          <dl>
            <dt>Picked</dt>
            <dd>{grouped(session.picked.length)}</dd>
            <dt>Ready to read</dt>
            <dd>{grouped(states.get('ready') ?? 0)}</dd>
            <dt>Key missing</dt>
            <dd>{grouped(states.get('key missing') ?? 0)}</dd>
            <dt>Without entry</dt>
            <dd>{grouped(states.get('no entry') ?? 0)}</dd>
          </dl>
        </section>
      </div>
      {use.length ? (
        <section class="keys">
          <h3>Data keys</h3>
          <KeyChart use={shown} />
          {shown.length < use.length ? <p class="found">{`Shown are ${grouped(shown.length)} of ${count(use.length, 'key')}${known ? ': the current one, and the newest' : ''}.`}</p> : null}
          <div class="scroll" tabIndex={0} role="region" aria-label="Table of data keys">
            <table>
              <caption>Each data key, and what uses it</caption>
              <thead>
                <tr>
                  <th scope="col">Key</th>
                  <th scope="col">Method</th>
                  <th scope="col">Made</th>
                  <th scope="col">Age</th>
                  <th scope="col">State</th>
                  <th scope="col" class="number">Files</th>
                  <th scope="col" class="number">Size of picked</th>
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
                          session.ask({ key: key.id, method: '', state: '', search: '' });
                          session.show('files');
                        }}
                      >
                        <code>{key.id}</code>
                      </button>
                    </td>
                    <td>{key.methods.join(', ') || 'plaintext'}</td>
                    <td>{key.made === null ? 'unknown' : date(key.made)}</td>
                    <td>{key.made === null ? 'unknown' : duration(now - Number(key.made))}</td>
                    <td>
                      {key.tags.map((tag) => (
                        <span class={`tag ${tag}`}>{tag}</span>
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
