export type * from './contribution.js';
export type * from './types.js';
