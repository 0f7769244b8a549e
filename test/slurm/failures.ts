/** A launch that cannot succeed, tried by all of Slurm's commands. */
import { access, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Configuration, Site } from './site.js';

/** Ranks of each launch. One of them is to speak for all. */
const RANKS = 4;

export interface Expectation {
  /** Do the ranks learn it each for themselves, and each say so? They do where berthd could not be asked for all. */
  readonly eachRank?: boolean;
  /** Does an srun on the node itself learn it already, in a batch script, when it asks what the image is? */
  readonly bySrun?: boolean;
}

/** What a launch said and how it ended. */
interface Ending {
  readonly status: number;
  readonly said: string;
}

/**
 * Starts ranks under srun, in salloc and in sbatch, of which none may come to run. Expects that each time the user is
 * told what under the code, and once why and what to do; that the program ran nowhere; and that Slurm neither drained the
 * node nor started the job again.
 */
export async function expectFailure(
  site: Site,
  configuration: Configuration,
  image: string,
  code: string,
  { eachRank = false, bySrun: srunLearns = false }: Expectation = {},
): Promise<readonly Ending[]> {
  const trace = join(site.cluster.layout.home, 'alice', 'trace');
  await rm(trace, { force: true });
  await site.write('leave-trace', '#!/bin/sh\ntouch ~/trace\n');
  const endings: Ending[] = [];
  for (const launch of [bySrun, bySalloc, bySbatch]) {
    const ending = await launch(site, configuration, image);
    expect(ending.said).toContain(`berth: ${code}: `);
    expect(ending.status).toBeGreaterThan(0);
    expect(ending.said.match(/berth: {3}why: \S/g)).toHaveLength(1);
    expect(ending.said.match(/berth: {3}hint: \S/g)).toHaveLength(1);
    expect(ending.said.match(new RegExp(`${code}:`, 'g'))).toHaveLength(
      eachRank && !(srunLearns && launch === bySbatch) ? RANKS : 1,
    );
    endings.push(ending);
  }
  await expect(access(trace)).rejects.toThrow('ENOENT');
  const { flags, reason } = await site.cluster.nodeState(configuration.node);
  expect({ drained: flags.includes('DRAIN'), reason }).toEqual({ drained: false, reason: '' });
  return endings;
}

async function bySrun(site: Site, configuration: Configuration, image: string): Promise<Ending> {
  const { status, stderr } = await site.shell(configuration, `srun --image='${image}' -n${RANKS} ./leave-trace`);
  return { status: status ?? 0, said: stderr };
}

async function bySalloc(site: Site, configuration: Configuration, image: string): Promise<Ending> {
  const { status, stderr } = await site.shell(
    configuration,
    `salloc --image='${image}' bash -c 'srun -n${RANKS} ./leave-trace'`,
  );
  return { status: status ?? 0, said: stderr };
}

async function bySbatch(site: Site, configuration: Configuration, image: string): Promise<Ending> {
  await site.write('job.sh', `#!/bin/bash\nsrun -n${RANKS} ./leave-trace; echo "status $?"\n`);
  const { stdout } = await site.shell(
    configuration,
    `batch --requeue --output=out --image='${image}' job.sh 2>&1; cat out; scontrol --oneliner show job $job`,
  );
  expect(stdout).toMatch(/ Restarts=0 /);
  return { status: Number(/^status (\d+)$/m.exec(stdout)?.[1]), said: stdout };
}
