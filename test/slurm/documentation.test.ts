// The examples in README.md and docs/*.md, tried as they stand there. CONTRIBUTING.md says how they are written.
// BERTH_TEST_PAGES=recipes,quick-start limits this to some pages.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { repository } from '../cluster/layout.js';
import { readPage, type Example } from './documentation/examples.js';
import { ReadersSite } from './documentation/readers-site.js';
import { PageRunner } from './documentation/runner.js';

/** How many examples of a page may be left untried; 1 unless it is here. */
const UNTRIED: Readonly<Record<string, number | undefined>> = {
  README: 3,
  administrators: 5,
  modules: 2,
  performance: 4,
  troubleshooting: 2,
};

const chosen = (process.env['BERTH_TEST_PAGES'] ?? '').split(',').filter((name) => name !== '');
const pages = ['README.md', ...readdirSync(join(repository, 'docs')).map((name) => `docs/${name}`)]
  .filter((path) => path.endsWith('.md'))
  .map((path) => ({ path, name: basename(path, '.md') }))
  .filter(({ name }) => chosen.length === 0 || chosen.includes(name))
  .map((page) => ({ ...page, ...readPage(readFileSync(join(repository, page.path), 'utf8')) }));
const withExamples = pages.filter(({ examples }) => examples.some(({ kind }) => kind !== 'not run'));

let site: ReadersSite;
beforeAll(async () => {
  site = await ReadersSite.start();
  return () => site.stop();
}, 400_000);

it('there are pages to try', () => {
  expect(pages.length).toBeGreaterThan(0);
});

it.each(pages)('$path has only examples that can be tried, and few that are not', ({ name, examples, problems }) => {
  expect(problems.map(({ line, what }) => `line ${line}: ${what}`)).toEqual([]);
  // Those for broken nodes are tried by broken-nodes.test.ts.
  const untried = examples.filter(
    (example) => example.kind === 'not run' && !example.why.startsWith('on a broken node: '),
  );
  expect(untried.length).toBeLessThanOrEqual(UNTRIED[name] ?? 1);
});

describe.each(withExamples)('$path', ({ path, name, examples }) => {
  let runner: PageRunner;
  beforeAll(async () => {
    runner = await PageRunner.make(site, name);
  });

  const tried = examples
    .filter(({ kind }) => kind !== 'not run')
    .map((example) => ({ title: titleOf(example), example }));
  it.each(tried)('$title', async ({ example }) => {
    try {
      await runner.try(example);
    } catch (error) {
      throw new Error(`${path}:${example.line}: ${error instanceof Error ? error.message : String(error)}`);
    }
  });
});

function titleOf(example: Example): string {
  const { line } = example;
  if (example.kind === 'session') return `line ${line}: ${example.commands.map(({ text }) => text).join('; ')}`;
  return example.kind === 'file' ? `line ${line}: the file ${example.path}` : `line ${line}: ${example.kind}`;
}
