/** What is launched, and what each is compared with. */
import type { Podman } from './podman.js';

/** Prints when it starts to run, in nanoseconds since the epoch; in the image as on the nodes. About as cheap as true. */
const PROBE = ['date', '+%s%N'] as const;

/** Where a launch is made: within an allocation or as a job of its own, on the cluster with Berth or on bare Slurm. */
export type Place = 'step' | 'job' | 'slurmStep' | 'slurmJob';

export interface Case {
  readonly id: string;
  readonly title: string;
  readonly place: Place;
  /** The case it is compared with; its own id for those others are compared with. */
  readonly baseline: string;
  /** Not Berth's: when it fails, the run goes on without the sample. */
  readonly peer: boolean;
  /** Takes seconds at 32 ranks: only a few rounds have it. */
  readonly slow: boolean;
  /** Builds a container: waits until those of earlier jobs are gone. */
  readonly builds: boolean;
  command(ranks: number): readonly string[];
}

/** Images by what they are used for. Their content differs, so that a job's container shares nothing with the warm one. */
export const images = { warm: 'bench', cold: 'bench-cold' } as const;

export interface Launchers {
  readonly podman: Podman;
  readonly charliecloud: readonly string[];
}

/** All cases, each after what it is compared with. */
export function allCases({ podman, charliecloud }: Launchers): readonly Case[] {
  const step = (options: readonly string[], launcher: readonly string[] = []) => {
    // Slurm lets go of a step's processors a moment after srun has ended: with --overlap the next one needs not wait.
    return (ranks: number) => ['srun', '--overlap', ...options, `--ntasks=${ranks}`, ...launcher, ...PROBE];
  };
  const job = (options: readonly string[]) => {
    return (ranks: number) => ['srun', '--nodes=1', ...options, `--ntasks=${ranks}`, ...PROBE];
  };
  const bareStep = { place: 'step', baseline: 'bare-step', peer: false, slow: false, builds: false } as const;
  const bareJob = { ...bareStep, place: 'job', baseline: 'bare-job' } as const;
  const peer = { ...bareStep, peer: true };
  return [
    { ...bareStep, id: 'bare-step', title: 'bare: srun --image=none', command: step(['--image=none']) },
    { ...bareStep, id: 'slurm-step', title: 'srun, Slurm without Berth', place: 'slurmStep', command: step([]) },
    { ...bareStep, id: 'berth-warm', title: 'Berth, warm', command: step([]) },
    { ...peer, id: 'ch-run', title: 'ch-run per rank', command: step(['--image=none'], charliecloud) },
    {
      ...peer,
      id: 'podman-exec',
      title: 'podman exec per rank',
      slow: true,
      command: step(['--image=none'], podman.exec),
    },
    {
      ...peer,
      id: 'podman-run',
      title: 'podman run per rank',
      slow: true,
      command: step(['--image=none'], podman.run),
    },
    { ...bareJob, id: 'bare-job', title: 'bare: srun --image=none', command: job(['--image=none']) },
    { ...bareJob, id: 'slurm-job', title: 'srun, Slurm without Berth', place: 'slurmJob', command: job([]) },
    { ...bareJob, id: 'berth-cold', title: 'Berth, cold', builds: true, command: job([`--image=${images.cold}`]) },
  ];
}
