/**
 * The room for the image store. `ImageStore.open` gives the store; a launch calls `resolve` and `openImage`, an import
 * calls `importTar`, `berth images` calls `list`, and berthd calls `recover` once when it starts.
 */
export type { Collected } from './collect.js';
export { isDigest } from './digest.js';
export { type FileImages, type UserFile } from './file-images.js';
export { Lease, readLease, type BlobProgress, type Progress } from './lease.js';
export {
  digestOf,
  DOCUMENT_LIMIT,
  indexHas,
  ManifestFault,
  parseManifest,
  type Blob,
  type Manifest,
} from './manifest.js';
export { pinnedReference } from './names.js';
export { BlobFault, findPulled, isMade, labelOf, Pull, type PullOrder } from './pull.js';
export type { Access, ImageRecord, JsonObject } from './record.js';
export {
  parseImportName,
  parseReference,
  registryOf,
  registryReference,
  sharedName,
  storeKey,
  type NameReference,
  type Reference,
} from './reference.js';
export { SaveFault, unpackImage, type SaveOrder } from './saved.js';
export { ImageStore, type ImportRequest, type StoreOptions } from './store.js';
export { Turns, type Holder, type Task } from './turns.js';
