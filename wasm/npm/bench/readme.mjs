// The place of a benchmark's table in a README.
import { readFileSync, writeFileSync } from 'node:fs';

/** Puts `text` between the marks of the README at `path`. */
export function intoReadme(path, text) {
  const readme = readFileSync(path, 'utf8');
  const between = /(<!-- bench -->\n).*?(<!-- \/bench -->)/s;
  if (!between.test(readme)) throw new Error('README.md has no place for the table');
  writeFileSync(path, readme.replace(between, (_, before, after) => `${before}${text}\n${after}`));
}
