// What is measured, wherever it runs: this package beside its peers.
import { measure } from './measure.mjs';

const SMALL = 64 << 10;
const LARGE = [1 << 20, 16 << 20];

const iv = Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i);
const keyOf = (length) => Uint8Array.from({ length }, (_, i) => 7 * i + 1);

/**
 * Measures everything. `peers` are the libraries that could be loaded here; the results are megabytes per second by group and subject.
 */
export async function run(stillkey, peers, progress = () => {}) {
  const groups = {};
  const group = async (name, length, subjects) => {
    progress(name);
    const present = Object.entries(subjects).filter(([, subject]) => subject);
    groups[name] = await measure(length, Object.fromEntries(present));
  };
  for (const [method, keyLength] of [['aes128-ctr', 16], ['aes192-ctr', 24], ['aes256-ctr', 32]]) {
    const key = keyOf(keyLength);
    await group(`${method}, 64 KiB`, SMALL, {
      stillkey: inPlace(stillkey, method, key, SMALL),
      '@noble/ciphers': peers.noble && noble(peers.noble, key, SMALL),
      'aes-js': method === 'aes256-ctr' && peers.aesJs && aesJs(peers.aesJs, key, SMALL),
      WebCrypto: method !== 'aes192-ctr' && (await webCrypto(key, SMALL)),
    });
  }
  const key = keyOf(16);
  await group('sm4-ctr, 64 KiB', SMALL, {
    stillkey: inPlace(stillkey, 'sm4-ctr', key, SMALL),
    'sm-crypto-v2': peers.smCryptoV2 && smCrypto(peers.smCryptoV2, key, SMALL),
    'sm-crypto': peers.smCrypto && smCrypto(peers.smCrypto, key, SMALL),
    "Node's OpenSSL": peers.openssl && peers.openssl(key, iv, new Uint8Array(SMALL)),
  });
  // Where WebCrypto takes over.
  const [aes256, crossing] = [keyOf(32), 32 << 10];
  const stream = newStream(stillkey, 'aes256-ctr', aes256);
  await group('aes256-ctr, 32 KiB', crossing, {
    stillkey: inPlace(stillkey, 'aes256-ctr', aes256, crossing),
    'stillkey, asynchronous': () => stream.applyAtAsync(0, new Uint8Array(crossing)),
    WebCrypto: await webCrypto(aes256, crossing),
  });
  for (const length of LARGE) {
    for (const [method, keyLength] of [['aes128-ctr', 16], ['aes256-ctr', 32]]) {
      const key = keyOf(keyLength);
      const stream = newStream(stillkey, method, key);
      const data = new Uint8Array(length);
      await group(`${method}, ${length >> 20} MiB, asynchronous`, length, {
        stillkey: () => stream.applyAtAsync(0, data),
        WebCrypto: await webCrypto(key, length),
      });
    }
  }
  return groups;
}

function newStream(stillkey, method, key) {
  return new stillkey.CtrStream(stillkey.DataKey.fromBytes(method, key), iv);
}

/** Encrypts what the call before has left: of zeros, the first call makes the keystream, with which the others are compared. */
function inPlace(stillkey, method, key, length) {
  const [stream, data] = [newStream(stillkey, method, key), new Uint8Array(length)];
  let first = true;
  return () => {
    stream.applyAt(0, data);
    if (!first) return data;
    first = false;
    return data.slice();
  };
}

function noble(ctr, key, length) {
  const data = new Uint8Array(length);
  return () => ctr(key, iv).encrypt(data);
}

function aesJs(aes, key, length) {
  const data = new Uint8Array(length);
  return () => new aes.ModeOfOperation.ctr(key, new aes.Counter(iv)).encrypt(data);
}

async function webCrypto(bytes, length) {
  const key = await crypto.subtle.importKey('raw', bytes, 'AES-CTR', false, ['encrypt']);
  const data = new Uint8Array(length);
  return async () => new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-CTR', counter: iv, length: 128 }, key, data));
}

/** These have no counter mode: so the counters are made in advance, encrypted block by block, and added to the data. */
function smCrypto(sm4, key, length) {
  const data = new Uint8Array(length);
  const counters = new Uint8Array(length);
  let counter = iv.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  for (let at = 0; at < length; at += 16) {
    let rest = counter;
    for (let i = 15; i >= 0; i--, rest >>= 8n) counters[at + i] = Number(rest & 0xffn);
    counter = (counter + 1n) & (2n ** 128n - 1n);
  }
  const result = new Uint8Array(length);
  return () => {
    const keystream = sm4.encrypt(counters, key, { padding: 'none', output: 'array' });
    for (let i = 0; i < length; i++) result[i] = data[i] ^ keystream[i];
    return result;
  };
}

/** Reads a byte stream into one buffer, to its end. */
export async function lengthOf(stream) {
  const reader = stream.getReader({ mode: 'byob' });
  let [buffer, length] = [new ArrayBuffer(1 << 20), 0];
  for (;;) {
    const { done, value } = await reader.read(new Uint8Array(buffer));
    if (done) return length;
    length += value.length;
    ({ buffer } = value);
  }
}
