/**
 * The room for the image store. `ImageStore.open` gives the store; a launch calls `resolve` and `openImage`, an import
 * calls `importTar`, `berth images` calls `list`, and berthd calls `recover` once when it starts.
 */
export { ImageStore, type ImportRequest, type StoreOptions } from './store.js';
export type { Access, ImageRecord, JsonObject } from './record.js';
export { pinnedReference } from './names.js';
export {
  isDigest,
  parseImportName,
  parseReference,
  referenceText,
  registryReference,
  type NameReference,
  type Reference,
} from './reference.js';
