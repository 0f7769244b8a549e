import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';

/** What a launch must not leave behind. */
export interface Residue {
  /** This process' descriptors: "NUMBER -> WHAT". */
  readonly descriptors: readonly string[];
  /** Loop devices on files below the test's directory. */
  readonly loops: readonly string[];
  /** Mounts below it. */
  readonly mounts: readonly string[];
  /** Builders that are this process' children, ended ones included. */
  readonly builders: readonly number[];
}

export function residue(directory: string): Residue {
  return {
    descriptors: openDescriptors(),
    loops: loopsOn(directory),
    mounts: mountsBelow(directory),
    builders: childrenNamed('berth-builder'),
  };
}

/** Waits until only `before` is left: the kernel frees loop devices a moment after their last user. */
export async function expectNothingLeft(directory: string, before: Residue): Promise<void> {
  await expect.poll(() => residue(directory), { interval: 10 }).toEqual(before);
}

export function openDescriptors(): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => `${fd} -> ${tryRead(() => readlinkSync(`/proc/self/fd/${fd}`))}`)
    .filter((line) => !line.endsWith('-> '));
}

/** Indices of the loop devices on files below the directory. */
export function loopsOn(directory: string): string[] {
  return readdirSync('/sys/block').filter((name) => {
    const file = tryRead(() => readFileSync(join('/sys/block', name, 'loop', 'backing_file'), 'utf8'));
    return name.startsWith('loop') && file.startsWith(`${directory}/`);
  });
}

/** Mount points below the directory, parents first. */
export function mountsBelow(directory: string): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').trimEnd().split('\n');
  return lines.map((line) => line.split(' ')[4] ?? '').filter((point) => point.startsWith(`${directory}/`));
}

/** Children of this process whose command has the name. */
export function childrenNamed(name: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      const status = tryRead(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
      const [, command, , parent] = /^\d+ \((.*)\) (\S) (\d+)/.exec(status) ?? [];
      return command === name && Number(parent) === process.pid;
    })
    .map(Number);
}

/** Is the descriptor closed by execve(2)? */
export function closesOnExec(fd: number): boolean {
  const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
  return (parseInt(flags, 8) & 0o2000000) !== 0;
}

function tryRead(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
