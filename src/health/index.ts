/**
 * The room for the node's health: the table of checks (`checks`), `Health`, which runs them when somebody asks, and what
 * Slurm is told (drain.ts).
 */
export { checks } from './table.js';
export { Health, type HealthParts, type HealthQuestion } from './health.js';
export { healthPage } from './document.js';
export { nodeName } from './checks/slurm.js';
export { reportDeadDaemon } from './dead.js';
export type { Family, Status } from './check.js';
export type { NodeChange } from './drain.js';
export { asPrometheus, type Results } from './report.js';
