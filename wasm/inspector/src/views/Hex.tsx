/** Bytes at any offset, decrypted and on disk, row by row beside each other. A window of them moves over the file; nothing else is read. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { asText, hexByte } from '../model/bytes.js';
import { explain, type Explanation } from '../model/explain.js';
import type { Source } from '../model/source.js';
import { t } from '../model/text.js';
import { Message } from './Message.js';
import { Copy } from './Name.js';

/** Rows in the window. */
const ROWS = 24;

export interface Mark {
  readonly at: number;
  readonly length: number;
}

interface Properties {
  readonly plain: Source | null;
  readonly disk: Source;
  readonly offset: number;
  readonly mark: Mark | null;
  readonly onMove: (offset: number) => void;
}

interface Loaded {
  readonly offset: number;
  readonly plain: Uint8Array | null;
  readonly disk: Uint8Array;
  readonly diskStart: number;
}

export function Hex({ plain, disk, offset, mark, onMove }: Properties) {
  const box = useRef<HTMLDivElement>(null);
  const [room, setRoom] = useState(1200);
  const [loaded, setLoaded] = useState<Loaded | null>(null);
  const [problem, setProblem] = useState<Explanation | null>(null);
  const source = plain ?? disk;
  const isBoth = plain !== null && plain !== disk;
  const isBeside = isBoth && room >= 1180;
  const width = (isBeside ? room / 2 : room) >= 590 ? 16 : 8;
  const first = Math.floor(offset / width) * width;
  const window_ = ROWS * width;
  const last = Math.max(0, Math.floor((source.size - 1) / width) * width);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setRoom(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    let isCurrent = true;
    const end = Math.min(source.size, first + window_);
    const diskStart = source.onDisk(first);
    const diskEnd = end > first ? source.onDisk(end - 1) + 1 : diskStart;
    Promise.all([plain ? plain.read(first, end) : null, disk.read(diskStart, diskEnd)]).then(
      ([decrypted, stored]) => {
        if (!isCurrent) return;
        setLoaded({ offset: first, plain: decrypted, disk: stored, diskStart });
        setProblem(null);
      },
      (error: unknown) => {
        if (isCurrent) setProblem(explain(error, 'file'));
      },
    );
    return () => {
      isCurrent = false;
    };
  }, [plain, disk, first, width]);

  // As far as the last window, so that there are bytes all over it.
  const farthest = Math.max(0, last - window_ + width);
  const move = (to: number) => onMove(Math.max(0, Math.min(farthest, to)));
  const moveNow = useRef(move);
  moveNow.current = move;
  const firstNow = useRef(first);
  firstNow.current = first;
  useEffect(() => {
    const element = box.current;
    // Preact's listeners can't stop the page from scrolling.
    const onWheel = (event: WheelEvent) => {
      const rows = Math.sign(event.deltaY) * Math.max(1, Math.round(Math.abs(event.deltaY) / 40));
      const isAtEnd = (rows < 0 && firstNow.current === 0) || (rows > 0 && firstNow.current + window_ >= source.size);
      if (isAtEnd || event.ctrlKey || rows === 0) return;
      event.preventDefault();
      moveNow.current(firstNow.current + rows * width);
    };
    element?.addEventListener('wheel', onWheel, { passive: false });
    return () => element?.removeEventListener('wheel', onWheel);
  }, [width, source]);

  const onKeyDown = (event: KeyboardEvent) => {
    const moves: Record<string, number> = { ArrowDown: first + width, ArrowUp: first - width, PageDown: first + window_, PageUp: first - window_, Home: 0, End: farthest };
    const to = moves[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(to);
  };

  if (source.size === 0) return <div ref={box} />;
  const digits = Math.max(8, (source.size - 1).toString(16).length);
  const rows: number[] = [];
  if (loaded) for (let at = loaded.offset; at < Math.min(source.size, loaded.offset + window_); at += width) rows.push(at);
  const side = (title: string, bytesOf: (at: number) => Uint8Array, place: (at: number) => number, marked: Mark | null) => (
    <div class="side">
      <h4>
        {title} <Copy label={t('Copy these lines: {side}', { side: title })} text={() => rows.map((at) => lineOf(place(at), digits, bytesOf(at), width)).join('\n')} />
      </h4>
      {rows.map((at) => (
        <HexRow key={at} place={place(at)} digits={digits} bytes={bytesOf(at)} width={width} mark={marked && { at: marked.at - at, length: marked.length }} />
      ))}
    </div>
  );
  return (
    <div class={isBeside ? 'hex beside' : 'hex'} ref={box}>
      {problem ? <Message of={problem} /> : null}
      <div class="sides" tabIndex={0} role="region" aria-label={t('Bytes from offset {at}; arrow keys, Page Up and Page Down move', { at: String(first) })} data-offset={loaded?.offset} onKeyDown={onKeyDown}>
        {loaded?.plain && isBoth ? side(t('Decrypted'), (at) => loaded.plain?.subarray(at - loaded.offset, at - loaded.offset + width) ?? new Uint8Array(), (at) => at, mark) : null}
        {loaded
          ? side(
              isBoth ? t('On disk') : t('On disk, as it is'),
              (at) => {
                const from = source.onDisk(at) - loaded.diskStart;
                return loaded.disk.subarray(from, from + Math.min(width, source.size - at));
              },
              (at) => source.onDisk(at),
              isBoth ? null : mark,
            )
          : null}
      </div>
      {source.size > window_ ? (
        <input
          class="position"
          type="range"
          min={0}
          max={1000}
          value={Math.round((1000 * first) / farthest)}
          aria-label={t('Position in the file')}
          aria-valuetext={t('byte {at} of {size}', { at: first, size: source.size })}
          onInput={({ currentTarget }) => move(Math.floor((farthest * Number(currentTarget.value)) / 1000 / width) * width)}
        />
      ) : null}
    </div>
  );
}

function HexRow({ place, digits, bytes, width, mark }: { place: number; digits: number; bytes: Uint8Array; width: number; mark: Mark | null }) {
  const isMarked = (at: number) => mark !== null && at >= mark.at && at < mark.at + mark.length;
  const cells = Array.from({ length: width }, (_, at) => bytes[at]);
  const gap = (at: number) => (at === width - 1 ? '' : at % 8 === 7 ? '  ' : ' ');
  // A span for each byte only where there is something to mark.
  const hasMark = cells.some((_, at) => isMarked(at));
  return (
    <div class="line">
      <span class="place">{place.toString(16).padStart(digits, '0')}</span>
      {'  '}
      <span class="bytes">
        {hasMark
          ? cells.map((byte, at) => [isMarked(at) ? <mark>{byte === undefined ? '  ' : hexByte(byte)}</mark> : byte === undefined ? '  ' : hexByte(byte), gap(at)])
          : cells.map((byte, at) => (byte === undefined ? '  ' : hexByte(byte)) + gap(at)).join('')}
      </span>
      {'  '}
      <span class="text">
        {hasMark
          ? cells.map((byte, at) => (byte === undefined ? '' : isMarked(at) ? <mark>{asText(byte)}</mark> : asText(byte)))
          : cells.map((byte) => (byte === undefined ? '' : asText(byte))).join('')}
      </span>
    </div>
  );
}

/** A line as text. */
function lineOf(place: number, digits: number, bytes: Uint8Array, width: number): string {
  const hex = Array.from({ length: width }, (_, at) => (bytes[at] === undefined ? '  ' : hexByte(bytes[at] ?? 0)) + (at % 8 === 7 ? ' ' : '')).join(' ');
  return `${place.toString(16).padStart(digits, '0')}  ${hex} ${Array.from(bytes, asText).join('')}`.trimEnd();
}
