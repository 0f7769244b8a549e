/** npm run bench -- node: what Berth costs a node beside its launches. */
import { benchOfParts, type BenchOfParts } from '../parts/bench.js';
import { turnEverythingOn } from './everything.js';
import { healthPart } from './health/part.js';
import { idlePart } from './idle/part.js';
import { readersPart } from './readers/part.js';
import { startPart } from './start/part.js';

export const node: BenchOfParts<unknown> = {
  name: 'node',
  subject: 'the node: health checks, events, berthd at rest and when it starts',
  purpose: 'What Berth costs a node besides launches: health checks, readers of events, berthd itself.',
  manner: `Starts a private Slurm cluster on this machine, whose compute node's berthd serves page, metrics and events. Takes about
five minutes, needs root, and leaves nothing behind but the root file system of its image, under build/. Best run while
nothing else does.`,
  parts: [healthPart, idlePart, readersPart, startPart],
  own: { known: {}, usage: '', read: () => ({}) },
  packages: [],
  setting: { rootfs: 'bench', packages: ['coreutils'], furnish: turnEverythingOn },
};

export const nodeBench = benchOfParts(node);
