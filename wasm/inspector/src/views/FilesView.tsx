/** The table of files. */
import { useMemo } from 'preact/hooks';
import { count, size } from '../model/bytes.js';
import { MOST_KEYS } from '../model/keys.js';
import { type Column, everything, type Row, select, stateMeaning, states } from '../model/rows.js';
import type { Session } from '../session.js';
import { Message } from './Message.js';
import { type GridColumn, VirtualGrid } from './VirtualGrid.js';

/** A path whose last name stays in sight when there is no room for all of it. */
export function Path({ of: path }: { of: string }) {
  const at = path.lastIndexOf('/') + 1;
  return (
    <span class="pathname" title={path}>
      <span class="folder">{path.slice(0, at)}</span>
      <span class="last">{path.slice(at)}</span>
    </span>
  );
}

export function FilesView({ session }: { session: Session }) {
  const { listing, query, fileDict } = session;
  const shown = useMemo(() => select(listing, query), [listing, query]);
  const values = { key: [...listing.keys.keys()], method: [...listing.methods], state: states.filter((state) => listing.states.has(state)) };
  const sorted = (column: Column) => (query.sort !== column ? 'none' : query.down ? 'descending' : 'ascending');
  const columns: GridColumn<Row>[] = [
    { id: 'name', label: 'Name', cell: ({ name }) => <Path of={name} />, sorted: sorted('name') },
    { id: 'method', label: 'Method', cell: ({ method }) => method || '–', sorted: sorted('method'), optional: true },
    { id: 'key', label: 'Key', cell: ({ key }) => <code>{key || '–'}</code>, sorted: sorted('key'), optional: true },
    { id: 'size', label: 'Size', cell: ({ size: bytes }) => (bytes < 0 ? '–' : size(bytes)), sorted: sorted('size'), optional: true, number: true },
    { id: 'state', label: 'State', cell: ({ state }) => <span class={`tag ${state.replace(' ', '-')}`} title={stateMeaning[state]}>{state}</span>, sorted: sorted('state') },
  ];
  const choice = (name: 'key' | 'method' | 'state', label: string) => (
    <label>
      <span>{label}</span>
      {values[name].length > MOST_KEYS ? (
        <input value={query[name]} spellcheck={false} placeholder="any" onInput={({ currentTarget }) => session.ask({ [name]: currentTarget.value.trim() })} />
      ) : (
        <select value={query[name]} onChange={({ currentTarget }) => session.ask({ [name]: currentTarget.value })}>
          <option value="">any</option>
          {values[name].map((value) => (
            <option value={value}>{value}</option>
          ))}
        </select>
      )}
    </label>
  );
  return (
    <>
      <h2>Files</h2>
      {fileDict?.problem ? <Message of={fileDict.problem} /> : null}
      <div class="filters">
        <label class="search">
          <span>Search</span>
          <input type="search" value={query.search} onInput={({ currentTarget }) => session.ask({ search: currentTarget.value })} placeholder="part of a name" />
        </label>
        {choice('key', 'Key')}
        {choice('method', 'Method')}
        {choice('state', 'State')}
        <p class="found" role="status">
          {shown.length === listing.length ? count(listing.length, 'file') : `${count(shown.length, 'file')} of ${count(listing.length, '', '').trim()}`}
        </p>
      </div>
      {shown.length ? (
        <VirtualGrid
          label="Files"
          kind="files"
          columns={columns}
          rows={shown}
          onOpen={(row) => void session.open(row)}
          onSort={(column) => session.ask({ sort: column as Column, down: query.sort === column && !query.down })}
        />
      ) : (
        <p class="nothing">
          {listing.length ? 'No file fits. ' : 'Neither entries nor files yet: open file.dict or data files.'}
          {listing.length ? (
            <button type="button" onClick={() => session.ask(everything)}>
              Show all
            </button>
          ) : null}
        </p>
      )}
    </>
  );
}
