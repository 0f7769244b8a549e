// What the health tests break, and how they see that it was found.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { TestDaemon } from './daemon.js';
import { healthOf, news, type Health } from './health.js';
import { program, projectRoot, Running } from './programs.js';

// Other work on this machine may be waiting for its disk.
export const SKIP = '[health]\nskip = ["blocked-processes"]\n';
/** In a mount namespace of berthd's own, what it pins may be younger than that: docs/adr/0001. */
export const NO_CANARY = `${SKIP}canary = false\n`;
export const NO_MUNGE = 'AuthType=auth/none\n';

export let daemon: TestDaemon;
/** What a daemon finds where nothing was broken. */
export let healthy: Health;
const undo: (() => unknown)[] = [];

/** Each test of the file that calls this has a daemon of its own, not started yet. */
export function eachWithADaemon(): void {
  beforeAll(async () => {
    const first = new TestDaemon(SKIP);
    try {
      await first.start();
      healthy = await healthOf(first);
    } finally {
      await first.remove();
    }
  });
  beforeEach(() => {
    daemon = new TestDaemon(SKIP);
  });
  afterEach(async () => {
    await daemon.end('SIGKILL').catch(() => undefined);
    for (const step of undo.splice(0).reverse()) await step();
    await daemon.remove();
  });
}

/** Done after the test, the last first. */
export function afterwards(step: () => unknown): void {
  undo.push(step);
}

export const path = (...parts: readonly string[]): string => join(daemon.directory, ...parts);
export const store = (...parts: readonly string[]): string => path('store', ...parts);

export function mount(target: string, ...words: readonly string[]): void {
  mkdirSync(target, { recursive: true, mode: 0o700 });
  execFileSync('mount', [...words, target]);
  undo.push(() => execFileSync('umount', ['--lazy', target]));
}

/** A file system that takes a question and never answers, over a directory. */
export async function silence(directory: string): Promise<void> {
  const running = await Running.start(program('silent-filesystem'), directory);
  undo.push(() => running.stop());
  expect(await running.line()).toBe('mounted');
}

export function plantImage(content: string, digest = createHash('sha256').update(content).digest('hex')): string {
  const file = store('images', 'sha256', `${digest}.squashfs`);
  writeFileSync(file, content, { mode: 0o444 });
  return file;
}

/** The plugin, with some of its bytes changed. */
export function plantPlugin(change: (bytes: Buffer, note: number) => void): string {
  const mark = 'berth installation note';
  const bytes = readFileSync(join(projectRoot, 'build', 'lib', 'spank_berth.so'));
  change(bytes, bytes.indexOf(mark) + mark.length);
  writeFileSync(path('spank_berth.so'), bytes, { mode: 0o755 });
  return path('spank_berth.so');
}

export interface Case {
  readonly what: string;
  readonly found: string;
  readonly status?: 'warn' | 'fail' | 'unknown';
  readonly text: RegExp;
  readonly hint: RegExp;
  /** Before berthd starts: what it is started with. */
  readonly prepare?: () => { readonly shell?: string; readonly env?: Record<string, string> } | undefined;
  /** While it runs. */
  readonly breakIt?: () => unknown;
}

/** What is broken is found by the check for it, with its hint, and by that one only. */
export function isFound(cases: readonly Case[]): void {
  it.each(cases)('$what: $found', async ({ found, status = 'fail', text, hint, prepare, breakIt }) => {
    const { shell, env } = prepare?.() ?? {};
    await daemon.start(shell, env);
    await breakIt?.();
    const health = await healthOf(daemon);
    const findings = news(healthy, health);
    expect(findings.map(({ id }) => id)).toEqual([found]);
    expect(findings[0]).toMatchObject({
      status,
      text: expect.stringMatching(text) as string,
      hint: expect.stringMatching(hint) as string,
    });
    expect(health.exitStatus).toBe(status === 'fail' ? 2 : 1);
  });
}
