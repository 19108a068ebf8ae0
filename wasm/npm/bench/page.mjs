// The browser's part of the benchmark: `measured` are the speeds, `decryptFile()` reads the file that was chosen.
import { ctr as noble } from '@noble/ciphers/aes.js';
import { sm4 as smCryptoV2 } from 'sm-crypto-v2';

import * as stillkey from '../dist/esm/browser.js';
import { lengthOf, run } from './subjects.mjs';

await stillkey.init();
globalThis.ready = true;

globalThis.measureAll = () => run(stillkey, { noble, aesJs: globalThis.aesjs, smCryptoV2 });

globalThis.decryptFile = async () => {
  const [file] = document.getElementById('file').files;
  const stream = new stillkey.CtrStream(stillkey.DataKey.random('aes256-ctr'), new Uint8Array(16));
  return lengthOf(stillkey.decryptBlob(file, stream));
};
