/** A table of any length: only the rows in sight are in the page. Arrow keys move, Enter opens. */
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Rows } from '../model/rows.js';

/** Height of a row in pixels; the style sheet says the same. */
const ROW = 28;

/** Height of all rows at most: what is higher, browsers cut off, at 17 million pixels and more. Beyond, scrolling by one pixel moves several. */
const MOST = 10_000_000;

export interface GridColumn<Row> {
  readonly id: string;
  readonly label: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** Gives way on narrow screens. */
  readonly optional?: boolean;
  readonly number?: boolean;
  /** Whether and how the rows are sorted by it; `undefined` where they can't be. */
  readonly sorted?: 'ascending' | 'descending' | 'none';
}

interface Properties<Row> {
  readonly label: string;
  readonly kind: string;
  readonly columns: readonly GridColumn<Row>[];
  readonly rows: Rows<Row>;
  readonly rowClass?: (row: Row) => string;
  readonly onOpen?: (row: Row) => void;
  readonly onSort?: (column: string) => void;
  readonly start?: number;
  /** Where it was left, for the way back. */
  readonly places: Map<string, { top: number; chosen: number }>;
}

export function VirtualGrid<Row>({ label, kind, columns, rows, rowClass, onOpen, onSort, start, places }: Properties<Row>) {
  const left = places.get(kind);
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [chosen, setChosen] = useState(left?.chosen ?? start ?? 0);
  const wantsFocus = useRef(false);
  const current = Math.min(chosen, Math.max(0, rows.length - 1));
  // The head of the table covers one row.
  const scaleIn = (room: number) => Math.max(1, (rows.length * ROW - room) / (MOST - room));
  const scale = scaleIn(height - ROW);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    if (left) element.scrollTop = left.top;
    else if (start) element.scrollTop = (Math.max(0, start - 3) * ROW) / scaleIn(element.clientHeight - ROW);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (!wantsFocus.current) return;
    wantsFocus.current = false;
    box.current?.querySelector<HTMLElement>(`[data-row="${current}"]`)?.focus({ preventScroll: true });
  });

  useEffect(() => void places.set(kind, { top, chosen: current }));
  const move = (to: number) => {
    const next = Math.max(0, Math.min(rows.length - 1, to));
    const element = box.current;
    wantsFocus.current = true;
    setChosen(next);
    if (!element) return;
    const room = element.clientHeight - ROW;
    const above = element.scrollTop * scale;
    if (next * ROW < above) element.scrollTop = (next * ROW) / scale;
    else if ((next + 1) * ROW > above + room) element.scrollTop = ((next + 1) * ROW - room) / scale;
    setTop(element.scrollTop);
  };
  const open = (at: number) => {
    const row = rows.at(at);
    if (row !== undefined) onOpen?.(row);
  };
  const page = Math.max(1, Math.floor(height / ROW) - 2);
  const onKeyDown = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    if (target.dataset['row'] === undefined) return;
    const moves: Record<string, number> = { ArrowDown: current + 1, ArrowUp: current - 1, PageDown: current + page, PageUp: current - page, Home: 0, End: rows.length - 1 };
    const to = moves[event.key];
    if (to !== undefined) move(to);
    else if (event.key === 'Enter') open(current);
    else return;
    event.preventDefault();
  };

  const above = top * scale;
  const from = Math.max(0, Math.floor(above / ROW) - 6);
  const to = Math.min(rows.length, Math.ceil((above + height) / ROW) + 6);
  const shown: { row: Row; at: number }[] = [];
  for (let at = from; at < to; at++) {
    const row = rows.at(at);
    if (row !== undefined) shown.push({ row, at });
  }
  // One row has to be reachable by Tab, in sight or not.
  const reachable = current >= from && current < to ? current : from;
  return (
    <div
      ref={box}
      class={`grid ${kind}`}
      role="grid"
      aria-label={label}
      aria-rowcount={rows.length + 1}
      // One row more for the head, and the border; the style sheet says how high it may become.
      style={{ height: `${Math.min(rows.length * ROW, MOST) + ROW + 2}px` }}
      onScroll={({ currentTarget }) => setTop(currentTarget.scrollTop)}
      onKeyDown={onKeyDown}
    >
      <div class="row head" role="row" aria-rowindex={1}>
        {columns.map(({ id, label: text, sorted, optional, number }) => (
          <div class={`cell ${id} ${optional ? 'optional' : ''} ${number ? 'number' : ''}`} role="columnheader" aria-sort={sorted}>
            {sorted && onSort ? (
              <button type="button" onClick={() => onSort(id)}>
                {text}
                <span aria-hidden="true">{sorted === 'ascending' ? ' ▴' : sorted === 'descending' ? ' ▾' : ''}</span>
              </button>
            ) : (
              text
            )}
          </div>
        ))}
      </div>
      <div class="body" role="rowgroup" style={{ height: `${Math.min(rows.length * ROW, MOST)}px` }}>
        {shown.map(({ row, at }) => (
          <div
            key={at}
            class={`row ${rowClass?.(row) ?? ''} ${onOpen ? 'opens' : ''}`}
            role="row"
            aria-rowindex={at + 2}
            data-row={at}
            tabIndex={at === reachable ? 0 : -1}
            style={{ transform: `translateY(${at * ROW - above + top}px)` }}
            onClick={() => {
              setChosen(at);
              // Whoever selects text wants the text.
              if (getSelection()?.isCollapsed === false) return;
              onOpen?.(row);
            }}
          >
            {columns.map(({ id, cell, optional, number }) => (
              <div class={`cell ${id} ${optional ? 'optional' : ''} ${number ? 'number' : ''}`} role="gridcell">
                {cell(row)}
              </div>
            ))}
          </div>
        ))}
      </div>
    </div>
  );
}
