export * from './frames.js';
export * from './messages.js';
export { version } from './version.js';
