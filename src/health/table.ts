import type { Check } from './check.js';
import { containerChecks } from './checks/containers.js';
import { fileChecks } from './checks/files.js';
import { hardwareChecks } from './checks/hardware.js';
import { installationChecks } from './checks/installation.js';
import { kernelChecks } from './checks/kernel.js';
import { moduleChecks } from './checks/modules.js';
import { slurmChecks } from './checks/slurm.js';
import { storeChecks } from './checks/store.js';

/** Every check of Berth's own, in the order in which they are shown. A new family is one more line. */
export const checks: readonly Check[] = [
  ...installationChecks,
  ...kernelChecks,
  ...storeChecks,
  ...containerChecks,
  ...moduleChecks,
  ...fileChecks,
  ...slurmChecks,
  ...hardwareChecks,
];
