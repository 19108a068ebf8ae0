// Every example of README.md that is marked `js` runs as it stands.
import assert from 'node:assert';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const examples = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);

test('README has examples', () => assert.ok(examples.length >= 4));

for (const [index, code] of examples.entries()) {
  test(`example ${index + 1}: ${code.split('\n', 1)[0]}`, async () => {
    // Inside the package, for it imports the package by its name.
    const file = new URL(`readme-${index + 1}.mjs`, import.meta.url);
    writeFileSync(file, code);
    try {
      await import(file.href);
    } finally {
      rmSync(file);
    }
  });
}
