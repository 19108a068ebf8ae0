// Every example of README.md that is marked `js` runs as it stands.
import assert from 'node:assert';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const examples = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);

test('README has examples', () => assert.ok(examples.length >= 4));

/** The example that takes files, with files that TiKV wrote. */
async function checkFirstPage(firstPage) {
  const vectors = new URL('../../../tests/vectors/tikv/', import.meta.url);
  const file = (path) => new Blob([readFileSync(new URL(path, vectors))]);
  const { cases } = JSON.parse(await file('manifest.json').text());
  const { dir, files, master_key: masterKey } = cases.find(({ case: name }) => name === 'v2-file-sm4-ctr');
  const { logical, stored } = files.find(({ size }) => size > 4096);
  const page = await firstPage(file(`${dir}/key.dict`), file(`${dir}/file.dict`), file(masterKey), logical, file(`${dir}/${stored}`));
  assert.equal(Buffer.compare(Buffer.from(page), readFileSync(new URL('plain/4096.bin', vectors))), 0);
}

for (const [index, code] of examples.entries()) {
  test(`example ${index + 1}: ${code.split('\n', 1)[0]}`, async () => {
    // Inside the package, for it imports the package by its name.
    const file = new URL(`readme-${index + 1}.mjs`, import.meta.url);
    writeFileSync(file, code);
    try {
      const { firstPage } = await import(file.href);
      if (firstPage) await checkFirstPage(firstPage);
    } finally {
      rmSync(file);
    }
  });
}
