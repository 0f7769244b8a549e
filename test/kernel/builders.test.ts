import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Builders } from '../../src/container/index.js';
import { native } from '../../src/native/index.js';
import { testedBuilder } from './helpers/container.js';
import { childrenNamed } from './helpers/residue.js';

let builders: Builders;

beforeEach(() => {
  builders = new Builders(testedBuilder);
});

afterEach(async () => {
  builders.end();
  await expect.poll(running).toEqual([]);
});

function running(): readonly number[] {
  return childrenNamed('berth-builder');
}

async function untilSpare(): Promise<number> {
  builders.keepSpare();
  await expect.poll(() => running().length).toBe(1);
  const [pid = 0] = running();
  await expect.poll(() => stateOf(pid)).toBe('S');
  return pid;
}

function stateOf(pid: number): string | undefined {
  return /^State:\t(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
}

function contextSwitches(pid: number): string | undefined {
  return /^voluntary_ctxt_switches:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
}

describe('a spare builder', () => {
  it('is not kept unless somebody asks for it', async () => {
    const taken = await builders.take();
    expect(running()).toEqual([taken.pid]);
    taken.end(false);
  });

  it('waits without waking up, as root, with nothing open but its socket', async () => {
    const pid = await untilSpare();
    const before = contextSwitches(pid);
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/^Uid:\t0\t0\t0\t0$/m);
    expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).toBe('');
    expect(readdirSync(`/proc/${pid}/fd`)).toEqual(['0', '1', '2', '3']);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(contextSwitches(pid)).toBe(before);
  });

  it('is what the next launch gets, and another one takes its place', async () => {
    const pid = await untilSpare();
    const taken = await builders.take();
    expect(taken.pid).toBe(pid);
    await expect.poll(() => running().filter((each) => each !== pid).length).toBe(1);
    taken.end(false);
  });

  it('is there for one launch only: others at the same time start their own', async () => {
    const pid = await untilSpare();
    const [first, second] = await Promise.all([builders.take(), builders.take()]);
    expect(first.pid).toBe(pid);
    expect(second.pid).not.toBe(pid);
    first.end(false);
    second.end(false);
  });

  it('that was killed is not handed out', async () => {
    const pid = await untilSpare();
    process.kill(pid, 'SIGKILL');
    await expect.poll(() => stateOf(pid)).toBe('Z');
    const taken = await builders.take();
    expect(taken.pid).not.toBe(pid);
    expect(native.hasEnded(taken.pidfd)).toBe(false);
    taken.end(false);
  });
});
