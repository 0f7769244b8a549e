export type * from './contribution.js';
export {
  askedFor,
  excludeEachOther,
  NAMED,
  NOTHING_ASKED_FOR,
  optionsKey,
  parseOptions,
  writtenOption,
  type AskedFor,
  type WrittenOption,
} from './parse.js';
export { absolutePath } from './path.js';
export { checkSize, parseSize, showSize } from './size.js';
export type * from './types.js';
export { parseVolume } from './volumes.js';
