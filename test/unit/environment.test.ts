import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readDefinition } from '../../src/cli/environment/definition.js';
import {
  expandDefinition,
  faultsOf,
  loadDefinition,
  optionsOf,
  withDefinition,
} from '../../src/cli/environment/merge.js';
import { findDefinition } from '../../src/cli/environment/search.js';
import { formatDefinition } from '../../src/cli/environment/toml.js';
import { BerthError } from '../../src/errors/index.js';

let scratch: string;

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'berth-environment-'));
});

afterEach(() => {
  rmSync(scratch, { recursive: true });
});

function file(name: string, text: string): string {
  const path = join(scratch, name);
  writeFileSync(path, text);
  return path;
}

function errorOf(work: () => unknown): BerthError {
  try {
    work();
  } catch (error) {
    if (error instanceof BerthError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

const FULL = `
base_environment = "base"
description = "PyTorch"
image = "docker://pytorch/pytorch:2.4"
mounts = ["\${SCRATCH}:/scratch", "/data.sqsh:/data:sqsh"]
workdir = "\${SCRATCH}/run"
entrypoint = false
writable = true
modules = ["gpu"]

[env]
LOG = "\${HOME}/log"
PRICE = "5$"

[annotations]
com.hooks.ssh.enabled = "true"
`;

describe('a container definition file', () => {
  it('becomes options of srun', () => {
    file('base.toml', 'image = "ubuntu"\nmounts = ["/opt/site"]\nroot = false\n[env]\nLOG = "none"\nKEPT = "yes"\n');
    const path = file('pytorch.toml', FULL.replace('"base"', '"./base.toml"'));
    const variables = { SCRATCH: '/scratch/me', HOME: '/home/me' };
    const options = optionsOf(expandDefinition(loadDefinition(path, '/', variables), variables));
    expect(options.map(({ name, value }) => `${name}=${value}`)).toEqual([
      'image=docker://pytorch/pytorch:2.4',
      'mount=/opt/site',
      'mount=/scratch/me:/scratch',
      'mount=/data.sqsh:/data:sqsh',
      'container-workdir=/scratch/me/run',
      'no-container-entrypoint=',
      'container-writable=',
      'no-container-remap-root=',
      'module=gpu',
      'env=LOG=/home/me/log',
      'env=KEPT=yes',
      'env=PRICE=5$',
    ]);
  });

  it('reads as the same once it was written out', () => {
    const path = file('pytorch.toml', FULL.replace('base_environment = "base"', ''));
    const definition = loadDefinition(path, '/', {});
    expect(definition.annotations).toEqual({ 'com.hooks.ssh.enabled': 'true' });
    const again = readDefinition(path, formatDefinition(definition));
    expect(again.problems).toEqual([]);
    expect(again.definition).toEqual(definition);
  });

  it.each([
    ['imgae = "x"', 1, /imgae/, /did you mean image\?/],
    ['image = 5', 1, /image is 5/, /expected a text/],
    ['image = "x"\nmounts = "/a:/b"', 2, /mounts is/, /an array/],
    ['[env]\n"a b" = "x"', 2, /env has a b/, /name of a variable/],
    ['image = "x', 1, /not TOML/, /./],
  ])('%j is told what is wrong with it, and where', (text, line, what, why) => {
    const [problem] = readDefinition('f.toml', text).problems;
    expect(problem).toMatchObject({ line });
    expect(problem?.what).toMatch(what);
    expect(problem?.why).toMatch(why);
  });

  it('cannot build on itself', () => {
    const path = file('a.toml', 'base_environment = "./b.toml"');
    file('b.toml', 'base_environment = ["./a.toml"]');
    expect(errorOf(() => loadDefinition(path, '/', {})).code).toBe('BERTH_ENVIRONMENT_INVALID');
  });

  it('cannot use a variable that is not set', () => {
    const path = file('a.toml', 'image = "${NOWHERE}/x.sqsh"');
    const error = errorOf(() => expandDefinition(loadDefinition(path, '/', {}), {}));
    expect(error.code).toBe('BERTH_ENVIRONMENT_INVALID');
    expect(error.why).toContain('NOWHERE');
  });

  it('is told of everything in it that cannot be used', () => {
    const path = file(
      'a.toml',
      'image = "${NOWHERE}/x"\nworkdir = "work"\nmounts = ["/a", "/b:/c:fast", "${NOWHERE}/x:/y", "/d:/proc/x"]',
    );
    const faults = faultsOf(loadDefinition(path, '/', {}), {});
    expect(faults.map(({ code }) => code).sort()).toEqual([
      'BERTH_ENVIRONMENT_INVALID',
      'BERTH_ENVIRONMENT_INVALID',
      'BERTH_PATH_RELATIVE',
      'BERTH_VOLUME_FLAG',
    ]);
    const twice = file('b.toml', 'mounts = ["/a:/x", "/b:/x"]');
    expect(faultsOf(loadDefinition(twice, '/', {}), {}).map(({ code }) => code)).toEqual(['BERTH_VOLUME_DUPLICATE']);
    const sound = file('c.toml', 'image = "ubuntu"\nmounts = ["/a:/x"]');
    expect(faultsOf(loadDefinition(sound, '/', {}), {})).toEqual([]);
  });

  it('gives way to options beside it, and has its volumes and modules added to theirs', () => {
    const of = (name: string, value = ''): { name: string; value: string } => ({ name, value });
    const definition = [
      of('mount', '/a'),
      of('container-workdir', '/a'),
      of('container-remap-root'),
      of('module', 'a'),
    ];
    const own = [
      of('volume', '/b:/b'),
      of('container-workdir', '/b'),
      of('no-container-remap-root'),
      of('module', 'b'),
    ];
    expect(withDefinition(definition, own)).toEqual([of('mount', '/a'), of('module', 'a'), ...own]);
  });

  it('is found by name in $EDF_PATH, or in ~/.edf', () => {
    mkdirSync(join(scratch, '.edf'));
    const own = file('.edf/own.toml', '');
    const other = file('other.toml', '');
    expect(findDefinition('own', '/', { HOME: scratch })).toBe(own);
    expect(findDefinition('other', '/', { HOME: '/nowhere', EDF_PATH: scratch })).toBe(other);
    expect(findDefinition('./other.toml', scratch, {})).toBe(other);
    const unknown = errorOf(() => findDefinition('onw', '/', { HOME: scratch }));
    expect(unknown.code).toBe('BERTH_ENVIRONMENT_UNKNOWN');
    expect(unknown.why).toContain('did you mean own?');
  });
});
