// Copies what the repository has once into the package: npm packs no file from above.
import { copyFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = join(dirname(fileURLToPath(import.meta.url)), '..');
for (const name of ['CHANGELOG.md', 'LICENSE-APACHE', 'LICENSE-MIT']) {
  copyFileSync(join(here, '../..', name), join(here, name));
}
