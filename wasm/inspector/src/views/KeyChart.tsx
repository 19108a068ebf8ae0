/** Keys over time, and how many files each has: where rotation stopped, or a key carries too much, shows at a glance. */
import { date, grouped } from '../model/bytes.js';
import type { KeyUse } from '../model/keys.js';
import { tagName } from '../model/keys.js';
import { read, t } from '../model/text.js';

const WIDTH = 640;
const HEIGHT = 150;
const [LEFT, RIGHT, TOP, BASE] = [36, 16, 14, 122];

export function KeyChart({ use }: { use: readonly KeyUse[] }) {
  const dated = use.filter((key): key is KeyUse & { made: bigint } => key.made !== null);
  if (dated.length < 2) return null;
  const times = dated.map(({ made }) => Number(made));
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const most = Math.max(1, ...dated.map(({ files }) => files));
  const stems = placed(dated, first, last);
  const label = (time: number) => (last - first < 86_400 ? new Date(time * 1000).toISOString().slice(0, 19).replace('T', ' ') : date(BigInt(time)).slice(0, 10));
  const y = (files: number) => BASE - ((BASE - TOP) * files) / most;
  const summary = t('{n|key|keys} made from {first} to {last}. The most used key has {most|file|files}. The table below holds the same figures.', { n: dated.length, first: date(BigInt(first)), last: date(BigInt(last)), most });
  return (
    <figure>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-labelledby="chart-title chart-text">
        <title id="chart-title">{t('Data keys by the time they were made, and the number of files that use each')}</title>
        <desc id="chart-text">{summary}</desc>
        {[0, most].map((files) => (
          <g class="axis">
            <line x1={LEFT} x2={WIDTH - RIGHT} y1={y(files)} y2={y(files)} />
            <text x={LEFT - 6} y={y(files) + 4} text-anchor="end">
              {grouped(files)}
            </text>
          </g>
        ))}
        {stems.map(({ x, key: { id, made, files, tags } }) => (
          <g class={`stem ${tags.includes('exposed') ? 'exposed' : ''} ${tags.includes('current') ? 'current' : ''}`}>
            <title>{t('{id}: {n|file|files}, made {date}, {tags}', { id, n: files, date: date(made), tags: tags.map((tag) => read(tagName[tag])).join(', ') })}</title>
            <line x1={x} x2={x} y1={BASE} y2={y(files)} />
            <circle cx={x} cy={y(files)} r="5" />
          </g>
        ))}
        <g class="axis">
          <text x={LEFT} y={HEIGHT - 8}>
            {label(first)}
          </text>
          <text x={WIDTH - RIGHT} y={HEIGHT - 8} text-anchor="end">
            {label(last)}
          </text>
        </g>
      </svg>
      <figcaption>
        {t('Files per data key, by when the key was made.')} <span class="legend current">{read(tagName.current)}</span> <span class="legend exposed">{read(tagName.exposed)}</span>{' '}
        <span class="legend old">{read(tagName.old)}</span>
      </figcaption>
    </figure>
  );
}

type Dated = KeyUse & { made: bigint };

/** Where each key stands: by its time, but never on top of another one. */
function placed(keys: readonly Dated[], first: number, last: number): { key: Dated; x: number }[] {
  const [start, end] = [LEFT + 10, WIDTH - RIGHT - 10];
  const gap = Math.min(14, (end - start) / keys.length);
  const stems = [...keys]
    .sort((a, b) => Number(a.made - b.made))
    .map((key) => ({ key, x: start + ((end - start) * (Number(key.made) - first)) / (last - first || 1) }));
  stems.forEach((stem, at) => (stem.x = Math.max(stem.x, (stems[at - 1]?.x ?? -gap) + gap)));
  stems.reverse().forEach((stem, at) => (stem.x = Math.min(stem.x, (stems[at - 1]?.x ?? end + gap) - gap)));
  return stems;
}
