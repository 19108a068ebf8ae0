/** The file.dict byte by byte: each record of its log, where it breaks, and what was found behind. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { grouped, hexByte, size, toHex } from '../model/bytes.js';
import { explain, explainLog } from '../model/explain.js';
import { MOST_RECORD, type Part, partsOf, partWords, type RawRecord, rawRecord, RECORD_HEADER } from '../model/log.js';
import type { Rows } from '../model/rows.js';
import { read, say, t } from '../model/text.js';
import { saveBlob } from '../save.js';
import type { FileDictState, Session } from '../session.js';
import { Message } from './Message.js';
import { Copy, Name, Path } from './Name.js';
import { type GridColumn, VirtualGrid } from './VirtualGrid.js';

const noParts: Rows<Part> = { length: 0, at: () => undefined };

export function LogView({ session }: { session: Session }) {
  const { fileDict, logSearch } = session;
  const dictionary = fileDict?.dictionary ?? null;
  const log = fileDict?.log ?? null;
  const parts = useMemo(() => (dictionary && log ? partsOf(dictionary, log, fileDict?.salvaged ?? null) : noParts), [dictionary]);
  const found = useFound(parts, logSearch.name, logSearch.isExact);
  const [chosen, setChosen] = useState<Part | null>(null);
  useEffect(() => setChosen(null), [dictionary]);
  if (!fileDict) {
    return (
      <>
        <h2>{t('Log')}</h2>
        <p class="nothing">{t('The log is in file.dict, which is not open yet.')}</p>
      </>
    );
  }
  if (!dictionary || !log) {
    return (
      <>
        <h2>{t('Log')}</h2>
        {fileDict.problem ? <Message of={fileDict.problem} /> : null}
      </>
    );
  }
  const isWhole = log.verdict.state === 'complete';
  const brokenAt = isWhole ? -1 : parts.length - behindCount(parts, log.verdict.at);
  return (
    <>
      <h2>{t('Log')}</h2>
      {dictionary.version === 1 ? (
        <Message of={{ tone: 'info', title: say('Version 1 has no log'), text: say('The whole dictionary is rewritten on every change, under one checksum, which fits.') }} />
      ) : (
        <Message of={explainLog(log)} />
      )}
      {isWhole ? null : <Salvage session={session} fileDict={fileDict} />}
      <div class="filters">
        <label class="search">
          <span>{t('Search')}</span>
          <input type="search" value={logSearch.name} onInput={({ currentTarget }) => session.searchLog(currentTarget.value, false)} placeholder={t('part of a name')} />
        </label>
        {logSearch.isExact ? <p class="found">{t('The history of this one name.')}</p> : null}
        <p class="found" role="status">
          {found === null
            ? t('Searching…')
            : logSearch.name
              ? t('{n|part|parts} of {all}', { n: found.length, all: parts.length })
              : t('{n|part|parts} of {size}, in their order', { n: parts.length, size: t('{n|byte|bytes}', { n: log.size }) })}
        </p>
      </div>
      {found?.length ? (
        <VirtualGrid
          key={logSearch.name}
          label={t('Parts of file.dict')}
          kind="log"
          places={session.places}
          columns={columns()}
          rows={found}
          rowClass={({ kind, isBehind }) => `${kind} ${isBehind ? 'behind' : ''}`}
          onOpen={setChosen}
          {...(isWhole || logSearch.name ? {} : { start: brokenAt })}
        />
      ) : (
        <p class="nothing">{found ? t('No record has this name.') : ''}</p>
      )}
      {chosen ? <RecordBytes key={chosen.offset} fileDict={fileDict} part={chosen} onHistory={(name) => session.searchLog(name, true)} onClose={() => setChosen(null)} /> : null}
    </>
  );
}

const columns = (): GridColumn<Part>[] => [
  { id: 'offset', label: t('Offset'), cell: ({ offset }) => <code>{grouped(offset)}</code>, number: true },
  { id: 'length', label: t('Bytes'), cell: ({ length }) => grouped(length), number: true, optional: true },
  {
    id: 'kind',
    label: t('Kind'),
    cell: ({ kind, isBehind }) => (
      <>
        <span class={`tag ${kind}`}>{read(partWords[kind].name)}</span>
        {isBehind && kind !== 'lost' ? <span class="tag behind">{t('found behind the damage')}</span> : null}
      </>
    ),
  },
  { id: 'name', label: t('Name'), cell: ({ record, kind, lostName }) => (record ? <Path of={record.name} /> : lostName !== null ? <Path of={lostName} /> : read(partWords[kind].what)) },
  { id: 'method', label: t('Method'), cell: ({ record }) => record?.entry?.method ?? '', optional: true },
  { id: 'key', label: t('Key'), cell: ({ record }) => (record?.entry ? <code>{String(record.entry.keyId)}</code> : ''), optional: true },
  { id: 'iv', label: t('Initialization vector'), cell: ({ record }) => (record?.entry ? <code>{toHex(record.entry.iv)}</code> : ''), optional: true },
];

/** How many parts there are from a place on. */
function behindCount(parts: Rows<Part>, at: number): number {
  let number = 0;
  while (number < parts.length && (parts.at(parts.length - 1 - number)?.offset ?? 0) >= at) number++;
  return number;
}

/** So many milliseconds, and the page has its turn. */
const TURN = 15;

/** The parts of a name, looked for in turns; `null` while that goes on. */
function useFound(parts: Rows<Part>, name: string, isExact: boolean): Rows<Part> | null {
  const [found, setFound] = useState<{ of: Rows<Part>; name: string; rows: Rows<Part> } | null>(null);
  useEffect(() => {
    if (!name) return;
    let isCurrent = true;
    const wanted = name.toLowerCase();
    const hits: number[] = [];
    let at = 0;
    const step = () => {
      if (!isCurrent) return;
      for (const end = performance.now() + TURN; at < parts.length && performance.now() < end; at++) {
        const part = parts.at(at);
        const own = part?.record?.name ?? part?.lostName;
        if (own !== undefined && own !== null && (isExact ? own === name : own.toLowerCase().includes(wanted))) hits.push(at);
      }
      if (at < parts.length) setTimeout(step);
      else setFound({ of: parts, name, rows: { length: hits.length, at: (index) => parts.at(hits[index] ?? -1) } });
    };
    step();
    return () => {
      isCurrent = false;
    };
  }, [parts, name, isExact]);
  if (!name) return parts;
  return found?.of === parts && found.name === name ? found.rows : null;
}

/** What was found behind the damage, and a file.dict made of it. What is lost is said first. */
function Salvage({ session, fileDict }: { session: Session; fileDict: FileDictState }) {
  const { salvaged, log } = fileDict;
  if (!salvaged || !log || log.verdict.state === 'complete') return null;
  const { lost, dictionary, repaired } = salvaged;
  const bytes = lost.reduce((sum, { length }) => sum + length, 0);
  const names = lost.map(({ name }) => name).filter((name) => name !== null);
  return (
    <section class="salvage" aria-label={t('What can be saved')}>
      <h3>{t('What can be saved')}</h3>
      <p>
        {t('{records|record|records} with a checksum that fits, {behind} of them behind the damage, make {entries|entry|entries}.', {
          records: dictionary.recordCount,
          behind: log.behind,
          entries: dictionary.entryCount,
        })}
      </p>
      <p>
        <strong>{t('Lost: {parts|part|parts} of the file, {n|byte|bytes}.', { parts: lost.length, n: bytes })}</strong>{' '}
        {t('What a lost record changed or removed stands as it was before: an entry may be out of date, or of a file that was removed. A file that was rewritten since can’t be read under such an entry.')}
      </p>
      {names.length ? (
        <p>
          {t('Lost are records of:')}{' '}
          {names.slice(0, 10).map((name, at) => (
            <>
              {at ? ', ' : ''}
              <Name of={name ?? ''} />
            </>
          ))}
        </p>
      ) : null}
      <button
        type="button"
        onClick={() =>
          void saveBlob(repaired, 'file.dict.repaired').catch((error: unknown) => session.note(explain(error, 'file')))
        }
      >
        {t('Save a repaired file.dict ({size})', { size: size(repaired.size) })}
      </button>
    </section>
  );
}

/** Bytes of a part that are shown at most. */
const SHOWN = 2048;

/** One part in bytes, and a record's fields as they stand there. */
function RecordBytes({ fileDict, part, onHistory, onClose }: { fileDict: FileDictState; part: Part; onHistory: (name: string) => void; onClose: () => void }) {
  const [bytes, setBytes] = useState<Uint8Array | null>(null);
  const { offset, length, record, kind } = part;
  useEffect(() => {
    // What a damaged length claims may reach further than the part does.
    const end = offset + Math.max(length, kind === 'damaged' || kind === 'torn' || kind === 'lost' ? MOST_RECORD : 0);
    fileDict.picked.file.slice(offset, end).arrayBuffer().then((buffer) => setBytes(new Uint8Array(buffer)), () => setBytes(new Uint8Array()));
  }, [part]);
  const raw: RawRecord | null = bytes && kind !== 'header' && kind !== 'base' ? rawRecord(bytes) : null;
  const hex = (value: number) => value.toString(16).padStart(8, '0');
  const own = bytes?.subarray(0, Math.min(length, SHOWN)) ?? new Uint8Array();
  const name = record?.name ?? part.lostName;
  return (
    <section class="record" aria-label={t('Bytes of this part')}>
      <h3>
        {t('{n|byte|bytes} at {at}', { n: length, at: offset })} {name !== null ? <Name of={name} /> : null}
      </h3>
      <div class="group">
        {name !== null ? (
          <button type="button" onClick={() => onHistory(name)}>
            {t('History of this name')}
          </button>
        ) : null}
        <Copy label={t('Copy these bytes')} text={() => linesOf(own, offset)} />
        <button type="button" onClick={onClose}>
          {t('Close')}
        </button>
      </div>
      <dl class="about">
        {raw ? (
          <>
            <Pair name={t('Checksum stored')} value={hex(raw.stored)} />
            <Pair
              name={t('Checksum computed')}
              value={raw.computed === null ? t('can’t be: by its lengths, the record reaches past the end of the file') : `${hex(raw.computed)} ${raw.computed === raw.stored ? t('(fits)') : t('(doesn’t fit)')}`}
            />
            <Pair name={t('Type')} value={String(raw.type)} />
            <Pair name={t('Length of the name')} value={grouped(raw.nameLength)} />
            <Pair name={t('Length of the entry')} value={grouped(raw.infoLength)} />
          </>
        ) : null}
        {record?.entry ? (
          <>
            <Pair name={t('Data key')} value={String(record.entry.keyId)} />
            <Pair name={t('Method')} value={record.entry.method} />
            <Pair name={t('Initialization vector')} value={toHex(record.entry.iv)} />
          </>
        ) : null}
        {raw && !record && bytes && raw.nameLength ? (
          <Pair name={t('Name as it stands there')} value={<Name of={new TextDecoder().decode(bytes.subarray(RECORD_HEADER, Math.min(bytes.length, RECORD_HEADER + raw.nameLength)))} />} />
        ) : null}
      </dl>
      <pre class="dump" tabIndex={0} aria-label={t('Bytes of this part')}>
        {linesOf(own, offset)}
      </pre>
      {length > SHOWN ? <p class="found">{t('Shown are the first {n|byte|bytes}.', { n: SHOWN })}</p> : null}
    </section>
  );
}

function Pair({ name, value }: { name: string; value: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <code>{value}</code>
      </dd>
    </div>
  );
}

/** Lines of 16 bytes, each with its place in the file. */
function linesOf(bytes: Uint8Array, offset: number): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) lines.push(`${(offset + at).toString(16).padStart(8, '0')}  ${Array.from(bytes.subarray(at, at + 16), hexByte).join(' ')}`);
  return lines.join('\n');
}
