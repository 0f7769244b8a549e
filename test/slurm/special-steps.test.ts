// The steps that are not srun's: the batch script, the shell of a salloc, and the one that holds what ssh brings.
import { beforeAll, describe, expect, it } from 'vitest';
import { configurations, Site } from './site.js';
import { changePlugstack } from './plugstack.js';

let site: Site;
beforeAll(async () => {
  const where = '#!/bin/sh\necho "$1 $(cat /image 2>/dev/null || echo the host)"\n';
  site = await Site.start({
    berthConfig: 'pull_at_launch = false\n[container]\n',
    slurmConf: 'LaunchParameters=use_interactive_step\nPrologFlags=Alloc,Contain\n',
    prepare: (started) => started.write('where', where),
  });
  return () => site.stop();
});

/** Sets the plugin's arguments for a describe block. */
function withPluginArguments(text: string): void {
  beforeAll(() => changePlugstack(site.cluster, (original) => original.replace('\n', ` ${text}\n`)));
}

describe.each(configurations())('with userns = $userns', (configuration) => {
  const { node } = configuration;
  const lines = (script: string): Promise<string[]> => site.lines(configuration, script);

  /** What a batch script sees where it is itself. */
  async function inBatch(image = 'debian'): Promise<string[]> {
    await site.write('job.sh', '#!/bin/bash\n./where batch\n');
    return lines(`batch --requeue --image=${image} --output=out job.sh; cat out; scontrol -o show job $job >state`);
  }

  /** What a person sees who types commands into the shell that salloc gives. */
  async function inInteractiveShell(commands: string): Promise<string[]> {
    const typed = `stty -echo; PS1=; ${commands}; exit\n`;
    const seen = await lines(`
      printf %s '${typed}' >typed
      script --quiet --return --command 'salloc --quiet --image=debian' /dev/null <typed`);
    return seen.map((line) => line.trim()).filter((line) => /^(shell|step) (debian|the host)$/.test(line));
  }

  describe('by default', () => {
    it('a batch script runs on the host', async () => {
      expect(await inBatch()).toEqual(['batch the host']);
    });

    it('the shell of a salloc is on the host, and its sruns in the container', async () => {
      expect(await inInteractiveShell('./where shell; srun ./where step')).toEqual(['shell the host', 'step debian']);
    });
  });

  describe('with contain=batch,interactive', () => {
    withPluginArguments('contain=batch,interactive');

    it('a batch script runs in the container', async () => {
      expect(await inBatch()).toEqual(['batch debian']);
    });

    it('the shell of a salloc is in the container', async () => {
      expect(await inInteractiveShell('./where shell')).toEqual(['shell debian']);
    });

    it('a batch script whose image cannot be had fails, and leaves node and queue as they are', async () => {
      await site.cluster.stopDaemon('login');
      const said = await inBatch('unknown').finally(() => site.startDaemon('login'));
      expect(said[0]).toContain('berth: BERTH_IMAGE_UNKNOWN: there is no image unknown');
      expect(said.join()).not.toContain('the host');
      expect((await lines('cat state')).join()).toMatch(/ JobState=FAILED .* Restarts=0 .* ExitCode=1:0 /);
      expect((await site.cluster.nodeState(node)).flags).not.toContain('DRAIN');
    });
  });

  it('the step that holds what ssh brings is on the host', async () => {
    const script = `
      until berth ps --json | grep -q '"ranks": 1'; do sleep 0.02; done
      for pid in $(pgrep --full '^sleep 100000000'); do
        [ "$(readlink /proc/$pid/ns/uts)" = "$(readlink /proc/self/ns/uts)" ] && readlink /proc/$pid/ns/mnt
      done`;
    const job = lines('srun --image=debian sleep 1');
    const { stdout } = await site.cluster.exec(node, ['sh', '-c', script], { timeout: 20_000 });
    await job;
    expect(stdout.trim()).toBe((await site.hostNamespaces(node)).mount);
  });
});
