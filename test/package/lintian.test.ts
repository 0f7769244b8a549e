// Debian's own check of packages.
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { builtPackages } from './packages.js';

it('lintian finds no error in the Debian packages, and nothing to warn of', () => {
  const { berth, plugin, shifter } = builtPackages();
  const argv = ['--allow-root', '--fail-on', 'error,warning', '--tag-display-limit', '0', berth, plugin, shifter];
  const { status, stdout } = spawnSync('lintian', argv, { encoding: 'utf8' });
  expect(stdout).toBe('');
  expect(status).toBe(0);
}, 120_000);
