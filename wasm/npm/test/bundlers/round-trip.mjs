import { CtrStream, DataKey, kernelName } from 'stillkey';

/** Encrypts and decrypts; the bytes as hexadecimal digits. */
export function roundTrip() {
  const key = DataKey.fromBytes('sm4-ctr', new Uint8Array(16).fill(7));
  const stream = new CtrStream(key, new Uint8Array(16).fill(9));
  const data = new TextEncoder().encode('what was bundled');
  const hex = () => Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
  stream.applyAt(5, data);
  const encrypted = hex();
  stream.applyAt(5, data);
  return { encrypted, decrypted: new TextDecoder().decode(data), kernel: kernelName() };
}
