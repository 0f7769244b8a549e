// Modules that ask for devices: the kernel says which ones a job may use.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Modules, type ModulesContribution } from '../../src/modules/index.js';

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

/** A device node of the machine's own null or zero device. */
function makeDevice(name: string, minor: 3 | 5): string {
  const path = join(base, name);
  execFileSync('mknod', [path, 'c', '1', String(minor)]);
  return path;
}

function devicesController(): string {
  const [, point] =
    /^\S+ \S+ \S+ \S+ (\S+) [^\n]* - cgroup \S+ \S*\bdevices\b/m.exec(readFileSync('/proc/self/mountinfo', 'utf8')) ??
    [];
  if (point === undefined) throw new Error('the devices controller of cgroups version 1 is not mounted');
  return point;
}

/** A process in cgroups as Slurm makes them, where the job may not use the null device, nor the step the zero device. */
function processOfJob(): ChildProcess {
  const job = join(devicesController(), `berth-test-${process.pid}`, 'uid_2001', 'job_7');
  const step = join(job, 'step_0');
  mkdirSync(step, { recursive: true });
  undo.push(() => [step, job, join(job, '..'), join(job, '../..')].forEach((each) => rmdirSync(each)));
  writeFileSync(join(job, 'devices.deny'), 'c 1:3 rwm');
  writeFileSync(join(step, 'devices.deny'), 'c 1:5 rwm');
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  writeFileSync(join(step, 'cgroup.procs'), String(child.pid));
  undo.push(
    () =>
      new Promise<void>((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGKILL');
      }),
  );
  return child;
}

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
    makeDevice('card1', 3);
    await expect(use(`devices = ["${base}/card*"]`)).resolves.toMatchObject({ names: ['m'] });
  });

  it("have to be the job's, as its cgroup has it, whatever one step of it may use", async () => {
    const { pid } = processOfJob();
    makeDevice('null0', 3);
    makeDevice('zero0', 5);
    await expect(use(`devices = ["${base}/null*"]`, pid)).rejects.toMatchObject({
      code: 'BERTH_MODULE_HOST',
      what: 'the module m cannot be used on n1',
      why: `the job was given none of ${base}/null*`,
    });
    await expect(use(`devices = ["${base}/zero*"]`, pid)).resolves.toMatchObject({ names: ['m'] });
  });

  it('decide whether a module is used by itself', async () => {
    const { pid } = processOfJob();
    makeDevice('null0', 3);
    makeDevice('zero0', 5);
    writeFileSync(join(base, 'no.toml'), `automatic = { device = "${base}/null*" }`);
    writeFileSync(join(base, 'yes.toml'), `automatic = { device = "${base}/zero*" }`);
    await expect(use('', pid)).resolves.toMatchObject({ names: ['yes', 'm'] });
  });

  it('cannot be known of a process that is gone', async () => {
    const child = spawn('true');
    await new Promise((resolve) => child.once('exit', resolve));
    const pid = child.pid ?? 0;
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    await expect(use('devices = ["/dev/null"]', pid)).rejects.toMatchObject({ code: 'BERTH_JOB_DEVICES' });
  });
});
