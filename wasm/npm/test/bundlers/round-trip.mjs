import { CtrStream, DataKey, kernelName } from 'stillkey';

/** Encrypts and decrypts; the bytes as hexadecimal digits. */
export async function roundTrip() {
  const key = DataKey.fromBytes('sm4-ctr', new Uint8Array(16).fill(7));
  const stream = new CtrStream(key, new Uint8Array(16).fill(9));
  const data = new TextEncoder().encode('what was bundled');
  const hex = () => Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
  stream.applyAt(5, data);
  const encrypted = hex();
  stream.applyAt(5, data);
  const long = new Uint8Array(100_000);
  const inWorker = await stream.applyAtAsync(0, long, { worker: true });
  stream.applyAt(0, long);
  const same = inWorker.every((byte, i) => byte === long[i]);
  return { same, encrypted, decrypted: new TextDecoder().decode(data), kernel: kernelName() };
}
