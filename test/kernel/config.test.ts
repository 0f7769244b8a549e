import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/index.js';

let directory: string;
let file: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-config-'));
  file = join(directory, 'berth.toml');
  writeFileSync(file, '[container]\nhome = false\n');
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe('root reads a configuration that', () => {
  it.each([0o600, 0o644, 0o444])('belongs to root and has the mode %o', async (mode) => {
    chmodSync(file, mode);
    expect((await loadConfig(file)).config.container.home).toBe(false);
  });
});

describe('root refuses a configuration that', () => {
  it.each([
    [0o664, '0664'],
    [0o602, '0602'],
  ])('others may write to, by the mode %o', async (mode, text) => {
    chmodSync(file, mode);
    await expect(loadConfig(file)).rejects.toMatchObject({
      code: 'BERTH_CONFIG_UNREADABLE',
      why: `its mode ${text} lets others than root write to it`,
    });
  });

  it('belongs to somebody else', async () => {
    chownSync(file, 1000, 0);
    await expect(loadConfig(file)).rejects.toMatchObject({
      code: 'BERTH_CONFIG_UNREADABLE',
      why: 'it belongs to uid 1000, so others than root decide what root does',
    });
  });
});
