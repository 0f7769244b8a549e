export type * from './contribution.js';
export { optionsKey, parseOptions, writtenOption, type WrittenOption } from './parse.js';
export { absolutePath } from './path.js';
export { checkSize, parseSize, showSize } from './size.js';
export type * from './types.js';
export { parseVolume } from './volumes.js';
