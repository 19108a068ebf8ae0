/** The file.dict byte by byte: each record of its log, and where it is torn or damaged. */
import { useMemo } from 'preact/hooks';
import { count, grouped } from '../model/bytes.js';
import { explainLog } from '../model/explain.js';
import { type Part, partsOf, partWords } from '../model/log.js';
import type { Session } from '../session.js';
import { Path } from './FilesView.js';
import { Message } from './Message.js';
import { type GridColumn, VirtualGrid } from './VirtualGrid.js';

const columns: readonly GridColumn<Part>[] = [
  { id: 'offset', label: 'Offset', cell: ({ offset }) => <code>{grouped(offset)}</code>, number: true },
  { id: 'length', label: 'Bytes', cell: ({ length }) => grouped(length), number: true, optional: true },
  { id: 'kind', label: 'Kind', cell: ({ kind }) => <span class={`tag ${kind}`}>{partWords[kind].name}</span> },
  { id: 'name', label: 'Name', cell: ({ record, kind }) => (record ? <Path of={record.name} /> : partWords[kind].what) },
  {
    id: 'checksum',
    label: 'Checksum',
    cell: ({ record, kind }) => (
      <>
        {record ? <code>{record.checksum.toString(16).padStart(8, '0')} </code> : null}
        {partWords[kind].verdict}
      </>
    ),
    optional: true,
  },
];

export function LogView({ session }: { session: Session }) {
  const { fileDict } = session;
  const dictionary = fileDict?.dictionary ?? null;
  const parts = useMemo(() => (dictionary && fileDict ? partsOf(dictionary, fileDict.size) : []), [dictionary]);
  if (!fileDict) {
    return (
      <>
        <h2>Log</h2>
        <p class="nothing">The log is in file.dict, which is not open yet.</p>
      </>
    );
  }
  if (!dictionary) {
    return (
      <>
        <h2>Log</h2>
        {fileDict.problem ? <Message of={fileDict.problem} /> : null}
      </>
    );
  }
  const isWhole = dictionary.verdict.state === 'complete';
  return (
    <>
      <h2>Log</h2>
      {dictionary.version === 1 ? (
        <Message of={{ tone: 'info', title: 'Version 1 has no log', text: 'The whole dictionary is rewritten on every change, under one checksum, which fits.' }} />
      ) : (
        <Message of={explainLog(dictionary.verdict, fileDict.tikv, dictionary.recordCount, fileDict.size)} />
      )}
      <p class="found">
        {count(parts.length, 'part')} of {count(fileDict.size, 'byte')}, in their order{isWhole ? '' : '; the last one is where it breaks'}
      </p>
      <VirtualGrid
        label="Parts of file.dict"
        kind="log"
        columns={columns}
        rows={parts}
        rowClass={({ kind }) => kind}
        {...(isWhole ? {} : { start: parts.length - 1 })}
      />
    </>
  );
}
