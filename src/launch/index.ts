export { Launcher, type Caller, type Launched, type LaunchOrder } from './launcher.js';
export { Timeline } from './timeline.js';
