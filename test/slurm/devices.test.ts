// Devices of jobs: Slurm's GRES decides which a job has, its cgroup holds to that, and CDI brings what these need.
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { requireCommand } from '../cluster/command.js';
import { configurations, Site } from './site.js';

/** Cards that are the machine's full, FUSE and TUN devices: opening them does nothing, and jobs do without. */
const CARDS = [
  [1, 7],
  [10, 229],
  [10, 200],
] as const;

let site: Site;
let base: string;
beforeAll(async () => {
  // Nodes have a /tmp of their own.
  base = await mkdtemp('/var/tmp/berth-devices-');
  await chmod(base, 0o755);
  await writeDevices();
  site = await Site.start({
    slurmConf: 'GresTypes=gpu\nTaskPlugin=task/cgroup\nProctrackType=proctrack/cgroup\n',
    nodeParameters: `Gres=gpu:${CARDS.length}`,
    slurmFiles: {
      'cgroup.conf': 'CgroupPlugin=cgroup/v1\nConstrainDevices=yes\n',
      'gres.conf': `Name=gpu File=${base}/card[0-${CARDS.length - 1}]\n`,
    },
    berthConfig: `[modules]\ndirectory = "${base}/modules.d"\ncdi_directories = ["${base}/cdi"]\n[container]\n`,
  });
  return async () => {
    try {
      await site.stop();
    } finally {
      await rm(base, { recursive: true });
      for (const { node } of site.configurations) {
        for (const controller of ['devices', 'freezer'])
          await requireCommand([
            'find',
            `/sys/fs/cgroup/${controller}/slurm_${node}`,
            '-depth',
            '-type',
            'd',
            '-delete',
          ]);
      }
    }
  };
});

async function writeDevices(): Promise<void> {
  for (const name of ['modules.d', 'cdi', 'driver']) await mkdir(join(base, name));
  for (const [card, [major, minor]] of CARDS.entries()) {
    execFileSync('mknod', ['--mode=0666', join(base, `card${card}`), 'c', String(major), String(minor)]);
    await writeFile(join(base, 'driver', String(card)), `firmware of ${card}\n`);
  }
  const devices = CARDS.map((_, card) => ({
    name: String(card),
    containerEdits: {
      deviceNodes: [{ path: `/cards/${card}`, hostPath: join(base, `card${card}`) }],
      mounts: [{ hostPath: join(base, 'driver', String(card)), containerPath: `/firmware/${card}`, options: ['ro'] }],
    },
  }));
  const specification = {
    cdiVersion: '0.6.0',
    kind: 'vendor.com/card',
    devices,
    containerEdits: { env: ['CARDS=yes'] },
  };
  await writeFile(join(base, 'cdi/vendor.json'), JSON.stringify(specification));
  await writeFile(
    join(base, 'modules.d/card.toml'),
    `automatic = { device = "${base}/card[0-9]" }\n[cdi]\nkind = "vendor.com/card"\n`,
  );
}

describe.each(configurations())('with userns = $userns', (configuration) => {
  const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

  it.each([1, 2, 3])(
    'a job with %d cards has these in its container, with what they need, and no others',
    async (count) => {
      const see = 'ls /firmware | tr "\\n" " "; ls /cards | tr "\\n" " "; echo; echo "$CARDS $CUDA_VISIBLE_DEVICES"';
      const [firmware, variables] = await lines(`srun --quiet --image=debian --gres=gpu:${count} sh -c '${see}'`);
      const cards = CARDS.map((_, card) => String(card)).slice(0, count);
      expect(firmware?.trim().split(' ')).toEqual([...cards, ...cards]);
      expect(variables).toBe(`yes ${cards.join(',')}`);
    },
  );

  it('what a job was not given stays closed, outside as inside, where its node can be seen', async () => {
    await site.write(
      'open-cards',
      `for card in ${base}/card?; do (: <$card) 2>/dev/null && echo open || echo closed; done`,
    );
    const ask = (image: string): Promise<string[]> =>
      lines(`srun --quiet --image=${image} --volume=${base}:${base} --gres=gpu:1 sh ./open-cards`);
    expect(await lines('srun --quiet --gres=gpu:1 sh ./open-cards')).toEqual(['open', 'closed', 'closed']);
    // A user's volume has no devices that work.
    expect(await ask('debian')).toEqual(['closed', 'closed', 'closed']);
    const own = '(: </cards/0) && echo open; (: </cards/1) 2>/dev/null || echo closed';
    expect(await lines(`srun --quiet --image=debian --gres=gpu:1 sh -c '${own}'`)).toEqual(['open', 'closed']);
  });

  it('a job without cards gets nothing of them, and cannot ask for it', async () => {
    expect(
      await lines(
        'srun --quiet --image=debian sh -c \'echo "${CARDS-none}"; ls -d /firmware 2>/dev/null || echo none\'',
      ),
    ).toEqual(['none', 'none']);
    const { status, stderr, stdout } = await site.shell(
      configuration,
      'srun --quiet --image=debian --module=card echo ran',
    );
    expect({ failed: status !== 0, stdout }).toEqual({ failed: true, stdout: '' });
    expect(stderr).toContain('BERTH_MODULE_HOST: the module card cannot be used');
    expect(stderr).toContain('the job was given no vendor.com/card of this node');
  });

  it("the steps of a job share its container, with the job's cards; each rank has its own", async () => {
    const see = 'echo "$(ls /firmware | tr "\\n" " ")$CUDA_VISIBLE_DEVICES"';
    await site.write('see-cards', `#!/bin/sh\n${see}\n`);
    const told = await lines(
      'salloc --quiet --image=debian --gres=gpu:2 -N1 sh -c "srun --gres=gpu:1 ./see-cards; srun --gres=gpu:2 ./see-cards"',
    );
    expect(told).toEqual(['0 1 0', '0 1 0,1']);
  });

  it('what a user says of devices has no say in it', async () => {
    const variables =
      'NVIDIA_VISIBLE_DEVICES=all CUDA_VISIBLE_DEVICES=0,1,2 SLURM_STEP_GPUS=0,1,2 SLURM_JOB_GPUS=0,1,2';
    expect(await lines(`${variables} srun --quiet --image=debian --gres=gpu:1 ls /firmware`)).toEqual(['0']);
  });

  it('the cards are known however often it is tried: slurmstepd asks before its job is confined', async () => {
    const all = await lines(`for i in 1 2 3 4 5 6 7 8; do srun --quiet --image=debian --gres=gpu:1 ls /firmware; done`);
    expect(all).toEqual(Array(8).fill('0'));
  });
});
