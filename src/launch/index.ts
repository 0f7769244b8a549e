export { Launcher, type Caller, type Launched, type LaunchOrder } from './launcher.js';
export { Puller, type PullOrder, type PullWaiter } from './puller.js';
export { Timeline } from './timeline.js';
