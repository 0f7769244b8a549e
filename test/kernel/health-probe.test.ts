// The child that health checks have ask what may hang: what becomes of questions when nobody waits for them any more.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ProbeSession, StuckQuestions } from '../../src/health/probe.js';
import { childrenNamed } from './helpers/residue.js';
import { program, Running } from './helpers/programs.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

let scratch: string;
let filesystem: Running;
beforeAll(async () => {
  scratch = makeScratch();
  mkdirSync(join(scratch, 'silent'));
  filesystem = await Running.start(program('silent-filesystem'), join(scratch, 'silent'));
  expect(await filesystem.line()).toBe('mounted');
});
afterAll(async () => {
  await filesystem.stop();
  removeScratch(scratch);
});

const probes = (): number[] => childrenNamed('berth-probe');

describe('a session that is closed', () => {
  it('still finds out what is stuck, so that it is not asked again, and its probe ends', async () => {
    const stuck = new StuckQuestions();
    const session = new ProbeSession(stuck);
    const asked = session.ask('stat', [join(scratch, 'silent', 'x')], { limit: 500 });
    expect(await filesystem.line()).toBe('asked');
    session.close();
    await expect(asked).rejects.toThrow('no answer within 0.5 s');
    const next = new ProbeSession(stuck);
    await expect(next.ask('stat', [join(scratch, 'silent', 'x')])).rejects.toThrow(
      /^no answer since .*not asked again$/,
    );
    next.close();
    await expect.poll(probes).toEqual([]);
  });

  it('asks nothing more', async () => {
    const session = new ProbeSession(new StuckQuestions());
    await session.ask('stat', ['/']);
    session.close();
    await expect(session.ask('stat', ['/'])).rejects.toThrow('berth-probe has ended');
    await expect.poll(probes).toEqual([]);
  });

  it('has begun nothing when nothing was asked', async () => {
    const session = new ProbeSession(new StuckQuestions());
    session.close();
    await expect(session.stat('/')).rejects.toThrow('berth-probe has ended');
    expect(probes()).toEqual([]);
  });
});
