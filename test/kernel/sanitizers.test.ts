import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from './helpers/programs.js';

/** Runs a step of scripts/sanitize.sh; rejects with what the sanitizers said. The seed is fixed: a run can be repeated. */
async function sanitize(step: string): Promise<string> {
  const env = { ...process.env, BERTH_SEED: '1', BERTH_ROUNDS: '50000' };
  const { stdout } = await promisify(execFile)('sh', [join(projectRoot, 'scripts', 'sanitize.sh'), step], { env });
  return stdout;
}

describe('under AddressSanitizer and UndefinedBehaviorSanitizer', () => {
  beforeAll(async () => {
    await sanitize('build');
  }, 300_000);

  it("the client's half of the protocol stands whatever a berthd sends", { timeout: 60_000 }, async () => {
    expect(await sanitize('wire')).toMatch(/^50000 replies, \d+ of them understood/);
  });

  it("the opener's reading of its request stands any bytes", { timeout: 60_000 }, async () => {
    expect(await sanitize('opener')).toMatch(/^50000 requests, \d+ of them understood/);
  });

  it("the builder's decoding of its specification stands any bytes", { timeout: 60_000 }, async () => {
    expect(await sanitize('spec')).toMatch(/^50000 frames, \d+ of them decoded/);
  });

  it('the builder passes all its tests', { timeout: 300_000 }, async () => {
    expect(await sanitize('builder')).toMatch(/\d+ passed/);
  });

  it(
    'what berthd starts for an errand, or puts into containers, stands real and bad orders',
    { timeout: 120_000 },
    async () => {
      expect(await sanitize('children')).toMatch(/\d+ passed/);
    },
  );

  it('the converter makes an image of any archive and layer file, or says why not', { timeout: 300_000 }, async () => {
    expect(await sanitize('archives')).toMatch(/^2500 archives, \d+ of them images/);
  });

  it('the converter passes all its tests', { timeout: 300_000 }, async () => {
    expect(await sanitize('converter')).toMatch(/\d+ passed/);
  });
});
