/**
 * The room for the image store. `ImageStore.open` gives the store; a launch calls `resolve` and `openImage`, an import
 * calls `importTar`, `berth images` calls `list`, and berthd calls `recover` once when it starts.
 */
export { ImageStore, type ImportRequest, type StoreOptions } from './store.js';
export type { ImageRecord } from './record.js';
export { parseImportName, parseReference, type Reference } from './reference.js';
