export { Designer, type Design } from './designer.js';
export { removeHookBundles } from './hooks.js';
export { Launcher, type Launched } from './launcher.js';
export type { Caller, LaunchOrder } from './order.js';
export { closeAside } from './opener.js';
export { PathImages, type FoundFile } from './path-images.js';
export { Puller, type PullOrder, type PullWaiter } from './puller.js';
export { Timeline } from './timeline.js';
export type { Waiter } from './user-process.js';
