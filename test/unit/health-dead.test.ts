// What the client has left of the time in which no berthd ran: the next one tells of it.
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { takeDeadDaemon } from '../../src/health/dead.js';
import { inWords } from '../../src/health/drain.js';
import { madeUpNodes } from './health-node.js';

const { root, nodeWith } = madeUpNodes();

const REASON = 'berth: daemon: berthd does not answer';
const DRAIN = { time: 1_700_000_000.25, node: 'n1', reason: REASON };
const NOTE = { fails: 3, slurmd: '1 2', isDrained: true, drains: [DRAIN] };

const note = (): string => join(root(), 'daemon-dead');

function leave(content: unknown): void {
  writeFileSync(note(), typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
}

function take(): ReturnType<typeof takeDeadDaemon> {
  const { config } = nodeWith({}, `[daemon]\nruntime_directory = "${root()}"\n`);
  return takeDeadDaemon(config);
}

describe('a node that was drained while no berthd ran', () => {
  it('was drained at that time, with that reason; which is told once', () => {
    leave({ ...NOTE, drains: [DRAIN, { ...DRAIN, time: DRAIN.time + 60 }] });
    const change = { what: 'drained', ...DRAIN, gone: [] } as const;
    expect(take()).toEqual([change, { ...change, time: DRAIN.time + 60 }]);
    expect(take()).toEqual([]);
    expect(inWords(change)).toBe(`drained n1 while no berthd ran, at 2023-11-14T22:13:20.250Z: ${REASON}`);
  });
});

describe('a note', () => {
  it.each([
    ['that is torn', '{"fails":3,"slur'],
    ['that is no object', '3'],
    ['without drains, as an earlier version leaves it', { fails: 3, slurmd: '1 2', isDrained: true }],
    ['whose drains are no list', { ...NOTE, drains: DRAIN }],
    ['of a drain without its time', { ...NOTE, drains: [{ node: 'n1', reason: REASON }] }],
    ['of a drain that is yet to come', { ...NOTE, drains: [{ ...DRAIN, time: Date.now() / 1000 + 3600 }] }],
    ["with a reason that is not Berth's", { ...NOTE, drains: [{ ...DRAIN, reason: 'rack 5 is moved' }] }],
    ['that is longer than any of ours', { ...NOTE, slurmd: 'x'.repeat(20_000) }],
  ])('%s tells of nothing, and is gone', (_, content) => {
    leave(content);
    expect(take()).toEqual([]);
    expect(existsSync(note())).toBe(false);
  });

  it('that others could have written tells of nothing, and is gone', () => {
    leave(NOTE);
    chmodSync(note(), 0o620);
    expect(take()).toEqual([]);
    expect(existsSync(note())).toBe(false);
  });

  it('that leads to what others could have written tells of nothing', () => {
    const open = join(root(), 'open');
    mkdirSync(open);
    writeFileSync(join(open, 'note'), JSON.stringify(NOTE));
    chmodSync(open, 0o777);
    symlinkSync(join(open, 'note'), note());
    expect(take()).toEqual([]);
    expect(existsSync(join(open, 'note'))).toBe(true);
  });
});
