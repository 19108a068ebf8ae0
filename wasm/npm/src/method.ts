/** Encryption methods, as dictionaries name and number them. */

/** How a file is encrypted. The values are the names that configuration files use. */
export const Method = {
  /** No encryption; the file's bytes are its content. */
  Plaintext: 'plaintext',
  /** AES-128 in counter mode, 16-byte key. */
  Aes128Ctr: 'aes128-ctr',
  /** AES-192 in counter mode, 24-byte key. */
  Aes192Ctr: 'aes192-ctr',
  /** AES-256 in counter mode, 32-byte key. */
  Aes256Ctr: 'aes256-ctr',
  /** SM4 (GB/T 32907-2016) in counter mode, 16-byte key. */
  Sm4Ctr: 'sm4-ctr',
} as const;

/** The name of an encryption method. */
export type Method = (typeof Method)[keyof typeof Method];

/** What is fixed about a method. */
export interface MethodFacts {
  /** The name. */
  readonly name: Method;
  /** The number in `encryptionpb.EncryptionMethod`. */
  readonly number: number;
  /** Length of a data key in bytes; 0 for plaintext. */
  readonly keyLength: number;
}

/** Every method, in the order of their numbers. */
export const methods: readonly MethodFacts[] = Object.freeze([
  { name: Method.Plaintext, number: 1, keyLength: 0 },
  { name: Method.Aes128Ctr, number: 2, keyLength: 16 },
  { name: Method.Aes192Ctr, number: 3, keyLength: 24 },
  { name: Method.Aes256Ctr, number: 4, keyLength: 32 },
  { name: Method.Sm4Ctr, number: 5, keyLength: 16 },
]);

/** @internal The name of a number; `unknown` for 0 and for numbers of the future. */
export function methodName(number: number): Method | 'unknown' {
  return methods[number - 1]?.name ?? 'unknown';
}
