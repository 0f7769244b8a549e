// The health checks of modules and of device specifications: what is wrong with them, and whether launches fail of it.
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Verdict } from '../../src/health/check.js';
import { moduleChecks } from '../../src/health/checks/modules.js';
import { madeUpNodes, type Files } from './health-node.js';

const { nodeWith, root } = madeUpNodes();

async function check(id: string, files: Files, defaults: readonly string[] = []): Promise<Verdict> {
  const config = [
    '[modules]',
    `directory = "${root()}/modules.d"`,
    `default = ${JSON.stringify(defaults)}`,
    `cdi_directories = ["${root()}/cdi"]`,
  ].join('\n');
  const context = nodeWith(files, config);
  return moduleChecks.find((each) => each.id === id)?.run(context) ?? Promise.reject(new Error(`no check ${id}`));
}

describe('the check of modules', () => {
  it('passes where there are none, and where all are sound', async () => {
    expect(await check('modules', {})).toEqual({ status: 'pass', text: '0 modules' });
    expect(await check('modules', { 'modules.d/a.toml': 'requires = ["b"]', 'modules.d/b.toml': '' })).toEqual({
      status: 'pass',
      text: '2 modules',
    });
  });

  it('warns of a module that only those would meet who ask for it', async () => {
    const { status, text } = await check('modules', { 'modules.d/a.toml': 'mount = 1' });
    expect(status).toBe('warn');
    expect(text).toMatch(/a\.toml:1: the module has a key mount: did you mean mounts\?/);
  });

  it.each([
    ['a module that is used by itself', { 'modules.d/a.toml': 'automatic = "always"\nmount = 1' }, []],
    ['one that the configuration names', { 'modules.d/a.toml': 'mount = 1' }, ['a']],
    ['one that the configuration names and is not there', {}, ['a']],
    [
      'one that requires another that is not there',
      { 'modules.d/a.toml': 'automatic = "always"\nrequires = ["b"]' },
      [],
    ],
    [
      'one whose MPI of the host is not there',
      { 'modules.d/a.toml': '[mpi]\nlibraries = ["/nowhere/libmpi.so.12"]' },
      ['a'],
    ],
  ] as const)('fails for %s', async (_, files, defaults) => {
    expect(await check('modules', files, defaults)).toMatchObject({ status: 'fail' });
  });

  it('fails where others than root could write modules', async () => {
    const context = { 'modules.d/a.toml': '' };
    await check('modules', context);
    chmodSync(join(root(), 'modules.d'), 0o777);
    const { status, text } = await check('modules', context);
    expect(status).toBe('fail');
    expect(text).toContain('the mode 0777');
  });
});

describe('the check of device specifications', () => {
  const specification = (path: string): string =>
    JSON.stringify({
      cdiVersion: '0.6.0',
      kind: 'vendor.com/card',
      devices: [{ name: '0', containerEdits: { deviceNodes: [{ path: '/dev/null' }] } }],
      containerEdits: { mounts: [{ hostPath: path, containerPath: '/vendor/lib.so' }] },
    });
  const USED = { 'modules.d/card.toml': '[cdi]\nkind = "vendor.com/card"' };

  it('passes where there are none, and where all that they name is there', async () => {
    expect(await check('cdi', {})).toEqual({ status: 'pass', text: '0 specifications' });
    expect(await check('cdi', { ...USED, 'cdi/a.json': specification('/etc/passwd') })).toEqual({
      status: 'pass',
      text: '1 specification',
    });
  });

  it('finds one that names a library which an update of the driver has replaced', async () => {
    const files = { 'cdi/a.json': specification('/usr/lib/libvendor.so.549') };
    expect(await check('cdi', { ...USED, ...files })).toEqual({
      status: 'fail',
      text: `${root()}/cdi/a.json names what is not there: /usr/lib/libvendor.so.549`,
    });
  });

  it('warns where no module uses the devices', async () => {
    const files = { 'cdi/a.json': specification('/usr/lib/libvendor.so.549') };
    expect(await check('cdi', files)).toMatchObject({ status: 'warn' });
  });

  it('warns of a module whose devices no specification describes', async () => {
    expect(await check('cdi', USED)).toEqual({
      status: 'warn',
      text: 'a module asks for vendor.com/card, which no specification describes',
    });
  });

  it('tells what is wrong with a file', async () => {
    const { status, text } = await check('cdi', { 'cdi/a.yaml': 'kind: gpu' });
    expect(status).toBe('warn');
    expect(text).toContain('cannot be used: cdiVersion is missing, not a string');
  });
});
