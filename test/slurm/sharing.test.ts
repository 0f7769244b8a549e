import { beforeAll, describe, expect, it } from 'vitest';
import { configurations, Site } from './site.js';

let site: Site;
beforeAll(async () => {
  site = await Site.start({ images: ['debian', 'other'] });
  return () => site.stop();
});

const NAMESPACES = 'readlink /proc/self/ns/mnt /proc/self/ns/user | paste -s';

describe.each(configurations())('with userns = $userns', (configuration) => {
  const { node, userns } = configuration;
  const lines = (script: string, user = 'alice'): Promise<string[]> => site.lines(configuration, script, { user });

  it('32 ranks of a node are in one mount namespace and one user namespace', async () => {
    const seen = await lines(`srun -n32 --image=debian bash -c '${NAMESPACES}'`);
    expect(seen).toHaveLength(32);
    expect(new Set(seen).size).toBe(1);
    const [mount, user] = seen[0]?.split('\t') ?? [];
    const host = await site.hostNamespaces(node);
    expect(mount).not.toBe(host.mount);
    if (userns === 'on') expect(user).not.toBe(host.user);
    else expect(user).toBe(host.user);
  });

  it('steps of a job find the container of the first: in turn, beside each other, and late', async () => {
    await site.write('step', `#!/bin/bash\n${NAMESPACES}; sleep $1\n`);
    const seen = await lines(`
      salloc --quiet bash -c '
        step() { srun --overlap --image=debian -n2 ./step $1 || echo failed; }
        step 1 & step 1 & step 0.2 &
        sleep 0.5; step 0 & wait
        step 0
      '`);
    expect(seen).toHaveLength(10);
    expect(new Set(seen).size).toBe(1);
  });

  it('two images of a job are two containers, each with its own files', async () => {
    const seen = await lines(`
      salloc --quiet bash -c '
        for image in debian other debian; do srun --image=$image -n1 bash -c "cat /image; echo \\$BERTH_CONTAINER"; done
      '`);
    expect([seen[0], seen[2], seen[4]]).toEqual(['debian', 'other', 'debian']);
    expect(seen[1]).toBe(seen[5]);
    expect(seen[3]).not.toBe(seen[1]);
  });

  it("two users' containers on a node are separate at the same time", async () => {
    const meet = `srun -n2 --image=debian bash -c '${NAMESPACES}; id -un; sleep 1.5'`;
    const both = Promise.all([lines(meet, 'alice'), lines(meet, 'bob')]);
    const { stdout } = await site.cluster.exec(node, [
      ...['sh', '-c'],
      'for i in $(seq 50); do berth ps --json | grep -q \'"bob"\' && berth ps --json | grep -q \'"alice"\' && break; sleep 0.05; done; berth ps',
    ]);
    expect(stdout).toMatch(/alice.*debian/);
    expect(stdout).toMatch(/bob.*debian/);
    const [alice, bob] = await both;
    expect(alice).toContain('alice');
    expect(bob).toContain('bob');
    expect(alice.filter((line) => bob.includes(line))).toEqual([]);
  });

  describe('the image of an allocation', () => {
    it('is that of every srun in salloc, unless an srun names another or none', async () => {
      const seen = await lines(`
        salloc --quiet --image=debian bash -c '
          srun cat /image
          srun --image=other cat /image
          srun --container-image=other cat /image
          srun --image=none test -e /image || echo the host
          cat /image 2>/dev/null || echo the host
        '`);
      expect(seen).toEqual(['debian', 'other', 'other', 'the host', 'the host']);
    });

    it('is that of every srun in a batch job, while the batch script itself is on the host', async () => {
      const seen = await lines(`
        cat >job.sh <<'END'
#!/bin/bash
#SBATCH --image=debian
srun cat /image
cat /image 2>/dev/null || echo the host
END
        batch --output=out job.sh; cat out`);
      expect(seen).toEqual(['debian', 'the host']);
    });

    it('can be given on the command line of sbatch, over the script', async () => {
      const seen = await lines(`
        printf '#!/bin/bash\\n#SBATCH --image=other\\nsrun cat /image\\n' >job.sh
        batch --output=out --image=debian job.sh; cat out`);
      expect(seen).toEqual(['debian']);
    });

    it('cannot be given twice by the two names of the option, of which Slurm hands on both', async () => {
      const { status, stderr } = await site.shell(configuration, 'srun --container-image=other --image=none true');
      expect(stderr).toContain('BERTH_OPTION_CONFLICT: --container-image and --image cannot be used together');
      expect(status).toBe(255);
    });

    it('gives way to that of an srun, whichever name of the option either uses', async () => {
      const seen = await lines(`
        salloc --quiet --container-image=debian bash -c '
          srun cat /image
          srun --image=other cat /image
          srun --image=none test -e /image || echo the host
        '
        salloc --quiet --image=debian bash -c '
          srun --container-image=other cat /image
          srun --container-image=none test -e /image || echo the host
        '`);
      expect(seen).toEqual(['debian', 'other', 'the host', 'other', 'the host']);
    });

    it('is not given by --image=none', async () => {
      expect(await lines('salloc --quiet --image=none srun test ! -e /image && echo the host')).toEqual(['the host']);
      expect(await lines('srun --image=none test ! -e /image && echo the host')).toEqual(['the host']);
      expect(await lines('srun test ! -e /image && echo the host')).toEqual(['the host']);
    });
  });
});
