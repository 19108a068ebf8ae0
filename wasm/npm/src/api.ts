/** What every entry point exports. */
export type { Bytes, Position } from './arguments.js';
export type { AbortOptions, BackgroundOptions } from './background.js';
export { CtrStream, ivForTiflashFile } from './ctr-stream.js';
export {
  type BlobOptions,
  decryptBlob,
  decryptStream,
  encryptStream,
  type FileInfo,
  readAll,
  type StreamOptions,
} from './decrypt.js';
export { Envelope, type Sealing } from './envelope.js';
export { type ErrorCode, type ErrorReason, StillkeyError } from './errors.js';
export { FileDictionary, type FileEntry, type LogFinding, type LogRecord, type LostPart, type ParseOptions, type Salvage, type Verdict } from './file-dictionary.js';
export { type FileChange, FileLog, type FileWrite } from './file-log.js';
export { Handle } from './handle.js';
export { KeyDictionary, type KeyEntry, type RotationPolicy, type RotationReason } from './key-dictionary.js';
export { DataKey, MasterKey, SecretBytes } from './keys.js';
export { Method, type MethodFacts, methods } from './method.js';
export { init, type InitOptions, kernelName, type ModuleSource } from './module.js';
export {
  type EncryptionContext,
  openStream,
  type OpenOptions,
  type Recipient,
  type ResealOptions,
  SealedObject,
  type SealedHeader,
  type SealOptions,
  sealStream,
  type Suite,
} from './sealed-object.js';
export type { NewBytes } from './types.js';
