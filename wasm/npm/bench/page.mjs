// The browser's part of the benchmark: `measured` are the speeds, `decryptFile()` reads the file that was chosen.
import * as stillkey from '../dist/esm/browser.js';
import { peers } from './peers.bundle.js';
import { lengthOf, run } from './subjects.mjs';

await stillkey.init();
globalThis.ready = true;

const chosen = () => document.getElementById('file').files[0];

globalThis.measureAll = async () => run(stillkey, await peers(), { blob: chosen() });

globalThis.decryptFile = async () => {
  const stream = new stillkey.CtrStream(stillkey.DataKey.random('aes256-ctr'), new Uint8Array(16));
  return lengthOf(stillkey.decryptBlob(chosen(), stream));
};
