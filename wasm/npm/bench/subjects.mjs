// What is measured, wherever it runs: this package beside its peers.
import { measure } from './measure.mjs';

const SMALL = 64 << 10;
const LARGE = [1 << 20, 16 << 20];
const CHUNK = 64 << 10;
/** Of the large file, what is decrypted. */
const FILE = 256 << 20;

const iv = Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i);
const keyOf = (length) => Uint8Array.from({ length }, (_, i) => 7 * i + 1);

/**
 * Measures everything. `peers` are the libraries that could be loaded here; the results are megabytes per second by group and subject.
 * `blob`: the large file; `decipher`: how the host itself decrypts its first bytes, if it does.
 */
export async function run(stillkey, peers, { blob, decipher }) {
  const groups = {};
  const group = async (name, length, subjects, shown) => {
    const present = Object.entries(subjects).filter(([, subject]) => subject);
    groups[name] = await measure(length, Object.fromEntries(present), shown);
  };
  await sealedObjects(stillkey, peers, group);
  await largeFile(stillkey, blob, decipher, group);
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

/** Sealing and opening: of what each has sealed, each opens its own, and all get the same. */
async function sealedObjects(stillkey, peers, group) {
  const length = 16 << 20;
  const data = Uint8Array.from({ length }, (_, i) => 7 * i);
  const pairs = {
    stillkey: stillkeyObject(stillkey, data),
    'WebCrypto, bare': await webCryptoChunks(data),
    'age-encryption': peers.age && (await ageFile(peers.age, data)),
    "libsodium's secretstream": peers.sodium && secretStream(peers.sodium, data),
  };
  const present = Object.entries(pairs).filter(([, pair]) => pair);
  const seals = Object.fromEntries(present.map(([name, { seal }]) => [name, seal]));
  const opens = {};
  for (const [name, { seal, open }] of present) {
    const sealed = await seal();
    opens[name] = () => open(sealed);
  }
  await group('aes256-gcm object, 16 MiB, sealing', length, seals, (sealed, name) => pairs[name].open(sealed));
  await group('aes256-gcm object, 16 MiB, opening', length, opens);
}

function stillkeyObject({ MasterKey, SealedObject }, data) {
  const key = MasterKey.random();
  return { seal: () => SealedObject.sealAsync(data, key), open: (sealed) => SealedObject.openAsync(sealed, key) };
}

/** Chunks that are on their way together, and results in one piece, as everybody has them. */
async function webCryptoChunks(data) {
  const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
  const all = async (bytes, size, grown, work) => {
    const count = Math.ceil(bytes.length / size);
    const result = new Uint8Array(bytes.length + count * grown);
    await Promise.all(Array.from({ length: count }, async (_, number) => {
      const nonce = new Uint8Array(12);
      new DataView(nonce.buffer).setUint32(7, number);
      const piece = bytes.subarray(number * size, (number + 1) * size);
      result.set(new Uint8Array(await crypto.subtle[work]({ name: 'AES-GCM', iv: nonce }, key, piece)), number * (size + grown));
    }));
    return result;
  };
  return { seal: () => all(data, CHUNK, 16, 'encrypt'), open: (sealed) => all(sealed, CHUNK + 16, -16, 'decrypt') };
}

async function ageFile({ Decrypter, Encrypter, generateX25519Identity, identityToRecipient }, data) {
  const identity = await generateX25519Identity();
  const [encrypter, decrypter] = [new Encrypter(), new Decrypter()];
  encrypter.addRecipient(await identityToRecipient(identity));
  decrypter.addIdentity(identity);
  return { seal: () => encrypter.encrypt(data), open: (sealed) => decrypter.decrypt(sealed) };
}

function secretStream(sodium, data) {
  const key = sodium.crypto_secretstream_xchacha20poly1305_keygen();
  const joined = (parts, length) => {
    const result = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      result.set(part, at);
      at += part.length;
    }
    return result;
  };
  const grown = 17;
  const count = Math.ceil(data.length / CHUNK);
  return {
    seal() {
      const { state, header } = sodium.crypto_secretstream_xchacha20poly1305_init_push(key);
      const chunks = Array.from({ length: count }, (_, number) => {
        const tag = number + 1 === count ? 3 : 0;
        return sodium.crypto_secretstream_xchacha20poly1305_push(state, data.subarray(number * CHUNK, (number + 1) * CHUNK), null, tag);
      });
      return joined([header, ...chunks], header.length + data.length + count * grown);
    },
    open(sealed) {
      const state = sodium.crypto_secretstream_xchacha20poly1305_init_pull(sealed.subarray(0, 24), key);
      const chunks = Array.from({ length: count }, (_, number) => {
        const at = 24 + number * (CHUNK + grown);
        return sodium.crypto_secretstream_xchacha20poly1305_pull(state, sealed.subarray(at, at + CHUNK + grown), null).message;
      });
      return joined(chunks, data.length);
    },
  };
}

/** A file that doesn't fit in memory comfortably; nobody keeps what comes out. */
async function largeFile(stillkey, blob, decipher, group) {
  const key = keyOf(32);
  const stream = newStream(stillkey, 'aes256-ctr', key);
  const subtle = await crypto.subtle.importKey('raw', key, 'AES-CTR', false, ['encrypt']);
  const slices = async (end, keep) => {
    for (let at = 0; at < end; at += 1 << 20) {
      const counter = counterAt(at);
      const slice = await blob.slice(at, at + (1 << 20)).arrayBuffer();
      keep?.(new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-CTR', counter, length: 128 }, subtle, slice)));
    }
  };
  const subjects = {
    stillkey: (end, keep) => each(stillkey.decryptBlob(blob, stream, { end }), keep),
    'WebCrypto, slice by slice': slices,
    "Node's createDecipheriv": decipher && ((end, keep) => decipher(key, iv, end, keep)),
  };
  const works = Object.entries(subjects).filter(([, subject]) => subject);
  const calls = Object.fromEntries(works.map(([name, work]) => [name, () => work(FILE, () => {})]));
  await group('aes256-ctr file, 256 MiB', FILE, calls, async (_, name) => {
    const parts = [];
    await subjects[name](4 << 20, (piece) => parts.push(piece.slice()));
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  });
  const sm4 = newStream(stillkey, 'sm4-ctr', keyOf(16));
  const some = 32 << 20;
  const shown = async () => stillkey.readAll(stillkey.decryptBlob(blob, sm4, { end: 1 << 20, worker: true }));
  await group('sm4-ctr file, 32 MiB', some, {
    stillkey: () => each(stillkey.decryptBlob(blob, sm4, { end: some })),
    'stillkey, in the worker': () => each(stillkey.decryptBlob(blob, sm4, { end: some, worker: true })),
  }, shown);
}

/** The counter block of a byte of the file. */
function counterAt(at) {
  const counter = iv.slice();
  for (let [i, rest] = [15, at / 16]; i >= 0; i--) {
    rest += counter[i];
    counter[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return counter;
}

async function each(stream, keep = () => {}) {
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) keep(next.value);
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
