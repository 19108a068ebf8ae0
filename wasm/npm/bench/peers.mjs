// The peers as one script for a browser: their imports name packages, which a page can't find.
import { Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption';
import aesJs from 'aes-js';
import sodium from 'libsodium-wrappers';
import { ctr as noble } from '@noble/ciphers/aes.js';
import { sm4 as smCryptoV2 } from 'sm-crypto-v2';

const age = { Decrypter, Encrypter, generateX25519Identity, identityToRecipient };

/** What exists wherever this runs. */
export async function peers() {
  await sodium.ready;
  return { noble, aesJs, smCryptoV2, age, sodium };
}
