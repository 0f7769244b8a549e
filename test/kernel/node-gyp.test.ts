import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..', '..');

describe('binding.gyp', () => {
  // node-gyp empties the build directory of the project it is called in: so in a copy.
  const copy = mkdtempSync(join(tmpdir(), 'berth-gyp-'));
  afterAll(() => {
    rmSync(copy, { recursive: true });
  });

  it('builds the same addon with node-gyp where there is no CMake', { timeout: 120_000 }, () => {
    for (const name of ['binding.gyp', 'package.json', 'native'])
      cpSync(join(root, name), join(copy, name), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const headers = `--nodedir=${dirname(dirname(process.execPath))}`;
    const gyp = join(root, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js');
    execFileSync(process.execPath, [gyp, 'configure', 'build', headers, '--jobs=2'], { cwd: copy, stdio: 'pipe' });

    const require = createRequire(import.meta.url);
    const built = require(join(copy, 'build', 'Release', 'berth.node')) as object;
    const usual = require(join(root, 'build', 'lib', 'berth.node')) as object;
    expect(Object.keys(built).sort()).toEqual(Object.keys(usual).sort());
  });
});
