// Modules that ask for devices: the kernel says which ones a job may use.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Modules, type ModulesContribution } from '../../src/modules/index.js';
import {
  cgroupOfVersion1,
  cgroupOfVersion2,
  makeDevice,
  NULL,
  ZERO,
  type MakeCgroup,
} from './helpers/device-cgroup.js';

let base: string;
let undo: (() => void | Promise<void>)[];
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'berth-modules-'));
  undo = [() => rmSync(base, { recursive: true })];
});
afterEach(async () => {
  for (const step of undo.reverse()) await step();
});

function use(text: string, pid = process.pid): Promise<ModulesContribution> {
  writeFileSync(join(base, 'm.toml'), text);
  const modules = new Modules({ directory: base, default: [], cdiDirectories: [] });
  return modules.contribute({ chosen: ['m'], user: 'root', uid: 0, home: '/root', jobId: 0, host: 'n1', pid });
}

/** A process in cgroups as Slurm makes them, where the job may not use the null device, nor the step the zero device. */
function processOfJob(make: MakeCgroup): ChildProcess {
  const cgroup = make([NULL], [ZERO]);
  undo.push(() => cgroup.remove());
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  if (child.pid !== undefined) cgroup.take(child.pid);
  undo.push(
    () =>
      new Promise<void>((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGKILL');
      }),
  );
  return child;
}

describe('the accounts of a module', () => {
  it('are lines of the name service, with the groups, and without those that it does not know', async () => {
    const { accounts } = await use('accounts = ["daemon", "nobody-knows-me", "www-data"]');
    expect(accounts.passwd).toMatch(/^daemon:x:1:1:[^\n]*\nwww-data:x:33:33:[^\n]*\n$/);
    expect(accounts.group).toBe('daemon:x:1:\nwww-data:x:33:\n');
    expect((await use('')).accounts).toEqual({ passwd: '', group: '' });
  });
});

describe('the devices of a module', () => {
  it('have to be there, and to be device nodes', async () => {
    await expect(use(`devices = ["${base}/card*"]`)).rejects.toMatchObject({
      code: 'BERTH_MODULE_HOST',
      why: `there is no ${base}/card*`,
    });
    writeFileSync(join(base, 'card0'), '');
    await expect(use(`devices = ["${base}/card*"]`)).rejects.toMatchObject({
      why: `the job was given none of ${base}/card*`,
    });
    makeDevice(join(base, 'card1'), NULL);
    await expect(use(`devices = ["${base}/card*"]`)).resolves.toMatchObject({ names: ['m'] });
  });

  describe.each([
    { version: 1, make: cgroupOfVersion1 },
    { version: 2, make: cgroupOfVersion2 },
  ])('with cgroups of version $version', ({ make }) => {
    it("have to be the job's, as its cgroup has it, whatever one step of it may use", async () => {
      const { pid } = processOfJob(make);
      makeDevice(join(base, 'null0'), NULL);
      makeDevice(join(base, 'zero0'), ZERO);
      await expect(use(`devices = ["${base}/null*"]`, pid)).rejects.toMatchObject({
        code: 'BERTH_MODULE_HOST',
        what: 'the module m cannot be used on n1',
        why: `the job was given none of ${base}/null*`,
      });
      await expect(use(`devices = ["${base}/zero*"]`, pid)).resolves.toMatchObject({ names: ['m'] });
    });

    it('decide whether a module is used by itself', async () => {
      const { pid } = processOfJob(make);
      makeDevice(join(base, 'null0'), NULL);
      makeDevice(join(base, 'zero0'), ZERO);
      writeFileSync(join(base, 'no.toml'), `automatic = { device = "${base}/null*" }`);
      writeFileSync(join(base, 'yes.toml'), `automatic = { device = "${base}/zero*" }`);
      await expect(use('', pid)).resolves.toMatchObject({ names: ['yes', 'm'] });
    });
  });

  it('cannot be known of a process that is gone', async () => {
    const child = spawn('true');
    await new Promise((resolve) => child.once('exit', resolve));
    const pid = child.pid ?? 0;
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    await expect(use('devices = ["/dev/null"]', pid)).rejects.toMatchObject({ code: 'BERTH_JOB_DEVICES' });
  });
});
