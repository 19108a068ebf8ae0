// The places of the benchmarks' tables in a README.
import { readFileSync, writeFileSync } from 'node:fs';

/** Puts `text` between the marks that are called `name` in the README at `path`. */
export function intoReadme(path, text, name = 'bench') {
  const readme = readFileSync(path, 'utf8');
  const between = new RegExp(`(<!-- ${name} -->\\n).*?(<!-- /${name} -->)`, 's');
  if (!between.test(readme)) throw new Error(`README.md has no place that is called ${name}`);
  writeFileSync(path, readme.replace(between, (_, before, after) => `${before}${text}\n${after}`));
}
