// The pages for man(1): that man shows without complaint what --help shows, and that nothing is missing.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { manualPages, pluginArguments, renderedPages } from '../../scripts/package/manual/pages.js';
import { commands } from '../../src/cli/commands/index.js';
import { allKeys } from '../../src/config/index.js';
import { manualText } from '../../src/manual/index.js';

const root = join(import.meta.dirname, '..', '..');
const pages = renderedPages(root, '1.2.3', '2026-01-31');
const directory = mkdtempSync(join(tmpdir(), 'berth-manual-'));

beforeAll(() => {
  for (const [name, text] of pages) writeFileSync(join(directory, name), text);
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** What man shows of a page, and what it complains of. */
function man(name: string): { text: string; complaints: string } {
  const env = { ...process.env, LC_ALL: 'C.UTF-8', MANWIDTH: '78', MAN_KEEP_FORMATTING: '' };
  const { status, stdout, stderr } = spawnSync('man', ['--warnings', '--local-file', join(directory, name)], {
    encoding: 'utf8',
    env,
  });
  expect(status).toBe(0);
  return { text: stdout, complaints: stderr };
}

/** The words of a page from its synopsis on, which in man stands between the margins. */
function words(text: string): string[] {
  const [, rest = ''] = /^SYNOPSIS$([\s\S]*)/m.exec(text) ?? [];
  return rest.split(/\s+/).filter((word) => word !== '');
}

describe('the manual pages', () => {
  it.each(manualPages(root).map(({ file, page }) => [file, page] as const))(
    '%s: man has the words of the text, and no complaint',
    (file, page) => {
      const { text, complaints } = man(file);
      expect(complaints).toBe('');
      const [title = ''] = text.split('\n');
      expect(title).toMatch(new RegExp(`^${file.replace(/\.(\d)$/, '').toUpperCase()}\\(\\d\\)`));
      const withoutFooter = text.trimEnd().replace(/\nBerth 1\.2\.3 .*$/, '');
      const plain = manualText(page, (heading) => heading).replace(/[\uE000\uE001]/g, '');
      expect(words(withoutFooter)).toEqual(words(plain));
    },
  );

  it('are one for each command, and one each for daemon, configuration, health check and plugin', () => {
    expect([...pages.keys()].sort()).toEqual(
      [
        ...commands.map(({ name }) => `berth-${name}.1`),
        ...['berth.1', 'berthd.8', 'berth.toml.5', 'berth-healthcheck.8', 'spank_berth.8', 'shifter.1'],
      ].sort(),
    );
  });

  it('of a command have what its --help shows', () => {
    const help = execFileSync(
      process.execPath,
      ['--import', 'tsx', join(root, 'src', 'cli', 'main.ts'), 'pull', '--help'],
      { encoding: 'utf8', cwd: root },
    );
    const shown = words(
      man('berth-pull.1')
        .text.trimEnd()
        .replace(/\nBerth 1\.2\.3 .*$/, ''),
    );
    expect(shown.slice(0, shown.indexOf('SEE'))).toEqual(words(help));
  });

  it('of the configuration have every key', () => {
    const { text } = man('berth.toml.5');
    for (const { name } of allKeys) expect(text).toMatch(new RegExp(`^ +${name} = `, 'm'));
  });

  it("of the plugin have every argument that it takes, and every option of srun's", () => {
    const { text } = man('spank_berth.8');
    const [, keys = ''] = /keys\[\] = \{([^}]*)\}/.exec(readFileSync(join(root, 'slurm', 'arguments.c'), 'utf8')) ?? [];
    const known = [...keys.matchAll(/"(\w+)="/g)].map(([, key]) => key);
    expect(pluginArguments.map(({ term }) => term.split('=')[0]).sort()).toEqual(known.sort());
    for (const option of [
      '--image=REF',
      '--container-image=REF',
      '--container-writable[=SIZE|DIR]',
      '--module=NAME[,...]',
    ])
      expect(text).toContain(`       ${option}\n`);
    expect(text).not.toContain('--mount=');
  });
});
