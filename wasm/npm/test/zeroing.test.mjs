// After `free()`, the module's memory holds no key any more. That can be seen only from inside, so it is the package's own module that is asked.
import assert from 'node:assert';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';

import { CtrStream, DataKey, Envelope, KeyDictionary, MasterKey, SealedObject } from 'stillkey';

import { wasmMemory } from '../dist/esm/module.js';

/** How often these bytes stand in the module's memory. */
function occurrences(bytes) {
  const memory = Buffer.from(wasmMemory().buffer);
  let count = 0;
  for (let at = memory.indexOf(bytes); at >= 0; at = memory.indexOf(bytes, at + 1)) count++;
  return count;
}

function check(what, secrets, handles) {
  for (const secret of secrets) assert.ok(occurrences(secret) > 0, `${what}: the search finds nothing even before`);
  for (const handle of handles) handle.free();
  // Half a key is too much as well.
  for (const secret of secrets) {
    for (const half of [secret.subarray(0, 8), secret.subarray(8, 16)]) assert.equal(occurrences(half), 0, `${what}: a key is still there`);
  }
}

test('a master key is gone, whatever it was made of', () => {
  for (const make of [(bytes) => MasterKey.fromBytes(bytes), (bytes) => MasterKey.fromHex(bytes.toString('hex'))]) {
    const bytes = randomBytes(32);
    check('master key', [bytes], [make(bytes)]);
    assert.equal(occurrences(Buffer.from(bytes.toString('hex'))), 0, 'its digits are still there');
  }
});

test('a data key is gone, and that of a stream that was used', async () => {
  for (const [method, length] of [['aes128-ctr', 16], ['aes192-ctr', 24], ['aes256-ctr', 32], ['sm4-ctr', 16]]) {
    const bytes = randomBytes(length);
    const key = DataKey.fromBytes(method, bytes);
    const stream = new CtrStream(key, new Uint8Array(16));
    stream.applyAt(3, new Uint8Array(100_000));
    await stream.applyAtAsync(0, new Uint8Array(100_000));
    check(method, [bytes], [key, stream]);
  }
});

test('the keys of a dictionary are gone, whether it was sealed or not', () => {
  for (const masterKey of [MasterKey.random(), MasterKey.plaintext()]) {
    const dictionary = new KeyDictionary();
    const id = dictionary.rotate('aes256-ctr', 0);
    const key = dictionary.dataKey(id, 'aes256-ctr');
    const bytes = Buffer.from(key.dangerExport());
    const again = KeyDictionary.open(dictionary.seal(masterKey), masterKey);
    check('dictionary', [bytes], [dictionary, again, key, masterKey]);
  }
});

test('what an envelope held is gone', () => {
  const masterKey = MasterKey.random();
  const payload = randomBytes(32);
  const envelope = Envelope.seal(payload, masterKey);
  check('envelope', [payload], [Envelope.parse(envelope.toBytes()).open(masterKey), envelope, masterKey]);
});

test('a master key that sealed and opened objects is gone', async () => {
  const bytes = randomBytes(32);
  const key = MasterKey.fromBytes(bytes);
  const object = SealedObject.seal(new Uint8Array(100_000), key);
  SealedObject.open(object, key);
  const opened = await SealedObject.from(new Blob([object]), key);
  await opened.read();
  check('object', [bytes], [key, opened]);
});
