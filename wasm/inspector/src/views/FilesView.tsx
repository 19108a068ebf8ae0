/** The table of files. */
import { useMemo } from 'preact/hooks';
import { size } from '../model/bytes.js';
import { MOST_KEYS } from '../model/keys.js';
import { type Column, everything, type Row, select, type State, stateMeaning, stateName, states } from '../model/rows.js';
import { read, t } from '../model/text.js';
import type { Session } from '../session.js';
import { Path } from './Name.js';
import { type GridColumn, VirtualGrid } from './VirtualGrid.js';

export function FilesView({ session }: { session: Session }) {
  const { listing, query } = session;
  const shown = useMemo(() => select(listing, query), [listing, query]);
  const values = { key: [...listing.keys.keys()], method: [...listing.methods], state: states.filter((state) => listing.states.has(state)) };
  const sorted = (column: Column) => (query.sort !== column ? 'none' : query.down ? 'descending' : 'ascending');
  const columns: GridColumn<Row>[] = [
    { id: 'name', label: t('Name'), cell: ({ name }) => <Path of={name} />, sorted: sorted('name') },
    { id: 'method', label: t('Method'), cell: ({ method }) => method || '–', sorted: sorted('method'), optional: true },
    { id: 'key', label: t('Key'), cell: ({ key }) => <code>{key || '–'}</code>, sorted: sorted('key'), optional: true },
    { id: 'size', label: t('Size'), cell: ({ size: bytes }) => (bytes < 0 ? '–' : size(bytes)), sorted: sorted('size'), optional: true, number: true },
    { id: 'state', label: t('State'), cell: ({ state }) => <span class={`tag ${state.replace(' ', '-')}`} title={read(stateMeaning[state])}>{read(stateName[state])}</span>, sorted: sorted('state') },
  ];
  const choice = (name: 'key' | 'method' | 'state', label: string) => (
    <label>
      <span>{label}</span>
      {values[name].length > MOST_KEYS ? (
        <input value={query[name]} spellcheck={false} placeholder={t('any')} onInput={({ currentTarget }) => session.ask({ [name]: currentTarget.value.trim() })} />
      ) : (
        <select value={query[name]} onChange={({ currentTarget }) => session.ask({ [name]: currentTarget.value })}>
          <option value="">{t('any')}</option>
          {values[name].map((value) => (
            <option value={value}>{name === 'state' ? read(stateName[value as State]) : value}</option>
          ))}
        </select>
      )}
    </label>
  );
  return (
    <>
      <h2>{t('Files')}</h2>
      <div class="filters">
        <label class="search">
          <span>{t('Search')}</span>
          <input type="search" value={query.search} onInput={({ currentTarget }) => session.ask({ search: currentTarget.value })} placeholder={t('part of a name')} />
        </label>
        {choice('key', t('Key'))}
        {choice('method', t('Method'))}
        {choice('state', t('State'))}
        <p class="found" role="status">
          {shown.length === listing.length ? t('{n|file|files}', { n: listing.length }) : t('{n|file|files} of {all}', { n: shown.length, all: listing.length })}
        </p>
      </div>
      {shown.length ? (
        <VirtualGrid
          label={t('Files')}
          kind="files"
          places={session.places}
          columns={columns}
          rows={shown}
          onOpen={(row) => void session.open(row)}
          onSort={(column) => session.ask({ sort: column as Column, down: query.sort === column && !query.down })}
        />
      ) : (
        <p class="nothing">
          {listing.length ? t('No file fits.') : t('Neither entries nor files yet: open file.dict or data files.')}{' '}
          {listing.length ? (
            <button type="button" onClick={() => session.ask(everything)}>
              {t('Show all')}
            </button>
          ) : null}
        </p>
      )}
    </>
  );
}
