// A node that is made up of files, for rules on readings that this machine does not have.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { parseConfig } from '../../src/config/index.js';
import { Memory, type Context } from '../../src/health/check.js';
import { ProbeSession, StuckQuestions } from '../../src/health/probe.js';
import { SlurmFacts } from '../../src/health/slurm-facts.js';

export type Files = Readonly<Record<string, string>>;

/** Each test of the file that calls this has a directory for such a node. */
export function madeUpNodes(): {
  readonly root: () => string;
  readonly nodeWith: (files: Files, toml?: string) => Context;
} {
  let root: string;
  let probe: ProbeSession;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'berth-health-'));
    probe = new ProbeSession(new StuckQuestions());
  });
  afterEach(() => {
    probe.close();
    rmSync(root, { recursive: true });
  });

  /** A node that has just these files, and this berth.toml. */
  function nodeWith(files: Files, toml = ''): Context {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), content);
    }
    const { config, problems } = parseConfig(toml, 'berth.toml');
    expect(problems).toEqual([]);
    const places = { proc: join(root, 'proc'), sys: join(root, 'sys'), dev: join(root, 'dev'), etc: join(root, 'etc') };
    return {
      config,
      configFile: undefined,
      places,
      probe,
      stuck: new StuckQuestions(),
      slurm: SlurmFacts.read([join(root, 'slurm.conf')]),
      containers: () => [],
      eventsFault: () => undefined,
      memory: new Memory(),
    };
  }

  return { root: () => root, nodeWith };
}
