/** One job script, asked for a container in three ways that people know: what the ranks see is the same. */
import { beforeAll, describe, expect, it } from 'vitest';
import { configurations, Site } from './site.js';

let site: Site;
beforeAll(async () => {
  site = await Site.start({ nodes: 2 });
  return () => site.stop();
});

/** What a rank can see, without what differs from one container to the next anyway. */
const RANK = `#!/bin/bash
echo "id: $(id)"
echo "umask: $(umask)"
echo "directory: $PWD"
echo "capabilities: $(grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -s '\\t\\n' ' ')"
echo "mounts: $(awk '{ print $5, $6 }' /proc/self/mountinfo | sort | tr '\\n' ';')"
echo "passwd: $(sha256sum < /etc/passwd)"
echo "group: $(sha256sum < /etc/group)"
echo "data: $(ls /data | sort | tr '\\n' ' ')"
touch /data/mine 2>/dev/null && echo 'data: writable'
touch /fast/mine && df --output=size /fast | tail -n 1
echo "limits: $(ulimit -a | sha256sum)"
env -0 | grep -zvE '^(SLURM_|SLURMD_|PMI|BERTH_|_=|SHLVL=|OLDPWD=|PIPE|SPANK_|_SLURM)' | sort -z | tr '\\0' '\\n'
`;

const SCRIPT = `#!/bin/bash
#SBATCH --nodes=2 --ntasks=4 --output=job.out --error=job.out
export JOB_WORD=from-the-script
srun $1 --label bash -c "$2" | sort
`;

const DEFINITION = `
image = "debian"
mounts = ["/opt:/data:ro", "tmpfs:/fast:size=16M"]
workdir = "/data"
[env]
WORD = "own"
`;

describe.each(configurations(2))('with userns = $userns', (configuration) => {
  const run = async (options: string, command: string): Promise<string> => {
    await site.write('rank', RANK);
    await site.write('script', SCRIPT);
    await site.write('definition.toml', DEFINITION);
    const lines = await site.lines(
      configuration,
      `batch ./script '${options}' '${command}' > submitted 2>&1 || cat submitted; cat job.out; rm -f job.out`,
    );
    return lines.join('\n');
  };

  it("a job script finds the same in Pyxis's words, in Shifter's, and with a definition file", async () => {
    const pyxis = await run(
      '--container-image=debian --container-mounts=/opt:/data:ro,tmpfs:/fast:size=16M --container-workdir=/data',
      'WORD=own ~/rank',
    );
    const shifter = await run(
      '--image=debian --volume=/opt:/data:ro;tmpfs:/fast:size=16M',
      'shifter --workdir=/data -e WORD=own ~/rank',
    );
    const definition = await run('--environment=./definition.toml', '~/rank');
    expect(pyxis).toContain('0: directory: /data');
    expect(pyxis).toContain('3: WORD=own');
    expect(pyxis).toContain('3: JOB_WORD=from-the-script');
    expect(pyxis).not.toContain('data: writable');
    expect(pyxis.match(/^\d: id: .*physics/gm)).toHaveLength(4);
    expect(shifter).toBe(pyxis);
    expect(definition).toBe(pyxis);
  });
});
