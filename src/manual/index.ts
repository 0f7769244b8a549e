/** The room for manual pages: what one consists of, and how it is shown as text. */
export type { Entry, ManualPage, Section } from './page.js';
export { manualText } from './text.js';
