// The site's own checks: their names, their number, and patterns that never come to an end.
import { chmodSync, chownSync, lchownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { faultOf, parseRule, siteChecks } from '../../src/health/checks/site.js';
import { madeUpNodes } from './health-node.js';

const { root, nodeWith } = madeUpNodes();

/** A directory of checks, each by its file's name; what is no rule is a program. */
function siteWith(files: Readonly<Record<string, string>>, above = root()): string {
  const directory = join(above, 'health.d');
  mkdirSync(directory);
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(directory, name), text);
    chmodSync(join(directory, name), name.endsWith('.toml') ? 0o644 : 0o755);
  }
  return directory;
}

describe("a site's checks", () => {
  it('have an id each, also where their files are named alike', async () => {
    const directory = siteWith({ scratch: '', 'scratch.toml': '', Scratch: '', 'scratch-2': '', a_b: '', 'a-b': '' });
    const ids = (await siteChecks(directory, nodeWith({}).probe)).map(({ id }) => id);
    expect(ids).toHaveLength(6);
    expect(new Set(ids).size).toBe(6);
    expect(ids).toContain('site-scratch');
  });

  it('are not what editors and package managers leave, nor what is hidden', async () => {
    const directory = siteWith({
      '.a': '',
      'a~': '',
      'a.dpkg-old': '',
      'a.toml.dpkg-dist': '',
      'a.rpmnew': '',
      '[b]*': '',
    });
    const checks = await siteChecks(directory, nodeWith({}).probe);
    expect(checks.map(({ reads }) => reads)).toEqual([join(directory, '[b]*')]);
  });
});

describe("a site's checks that cannot be done", () => {
  const found = async (directory: string, usual?: string): Promise<Readonly<Record<string, string>>> => {
    const context = nodeWith({});
    const checks = await siteChecks(directory, context.probe, usual);
    const verdicts = await Promise.all(checks.map(async (check) => check.run(context)));
    return Object.fromEntries(checks.map(({ id }, i) => [id, `${verdicts[i]?.status}: ${verdicts[i]?.text}`]));
  };

  it('are none where the usual directory is not there', async () => {
    expect(await found(join(root(), 'absent'), join(root(), 'absent'))).toEqual({});
  });

  // Where they would only be gone, a node that was drained because of one would be resumed.
  it('are not known where a directory is not there that the configuration names', async () => {
    expect(await found(join(root(), 'absent'))).toEqual({
      site: expect.stringMatching(/^unknown: .*absent: it is not there, or not mounted$/) as string,
    });
  });

  it('are not known where the usual directory leads to one that is not there', async () => {
    const usual = join(root(), 'health.d');
    symlinkSync(join(root(), 'absent'), usual);
    expect(Object.keys(await found(usual, usual))).toEqual(['site']);
  });

  it('are not known where the directory cannot be read', async () => {
    const directory = siteWith({ scratch: '' });
    expect(await found(join(directory, 'scratch'))).toEqual({
      site: expect.stringMatching(
        /^unknown: the site's own checks are not known: .*scratch: it is not a directory$/,
      ) as string,
    });
  });

  it('are neither passes nor failures: unsafe, no program, or a rule with a mistake', async () => {
    const directory = siteWith({ 'a.toml': 'file = 1\n', b: '#!/bin/sh\n', c: '#!/bin/sh\n' });
    chmodSync(join(directory, 'b'), 0o777);
    chmodSync(join(directory, 'c'), 0o644);
    expect(await found(directory)).toEqual({
      'site-a': expect.stringMatching(/^unknown: not run: .*a\.toml: file is to be a string$/) as string,
      'site-b': expect.stringMatching(/^unknown: not run: others than root may write to /) as string,
      'site-c': expect.stringMatching(/^unknown: not run: .* is neither executable nor a \.toml rule$/) as string,
    });
  });
});

describe("a site's checks below what others may write to", () => {
  const texts = async (directory: string): Promise<string[]> => {
    const context = nodeWith({});
    const checks = await siteChecks(directory, context.probe);
    return Promise.all(checks.map(async (check) => (await check.run(context)).text));
  };

  // Whoever may write to a directory above puts another one in its place after it was looked at.
  it.each([
    ['everybody', 0o777, 0],
    ['a user', 0o755, 2001],
  ])('are not run: a directory above is of %s', async (_, mode, uid) => {
    const above = join(root(), 'above');
    mkdirSync(above);
    const directory = siteWith({ a: '#!/bin/sh\n' }, above);
    chmodSync(above, mode);
    chownSync(above, uid, 0);
    expect(await texts(directory)).toEqual([`not run: others than root may write to ${above}`]);
  });

  it("are not run where a user's link leads to them", async () => {
    const link = join(root(), 'link');
    symlinkSync(siteWith({ a: '#!/bin/sh\n' }), link);
    lchownSync(link, 2001, 0);
    expect(await texts(link)).toEqual([`not run: others than root may write to ${link}`]);
  });

  it("are run where root's link leads to them", async () => {
    const link = join(root(), 'link');
    symlinkSync(siteWith({ a: '#!/bin/sh\necho fine\n' }), link);
    expect(await texts(link)).toEqual(['fine']);
  });

  it("are not run where root's link leads below what others may write to", async () => {
    const above = join(root(), 'above');
    mkdirSync(above);
    symlinkSync(siteWith({ a: '#!/bin/sh\n' }, above), join(root(), 'link'));
    chmodSync(above, 0o777);
    expect(await texts(join(root(), 'link'))).toEqual([`not run: others than root may write to ${above}`]);
  });
});

describe("what to do about a site's check", () => {
  it('is what its rule says, or what keeps it from being run', async () => {
    const directory = siteWith({
      'a.toml': 'file = "/a"\nhint = "ask ann"\n',
      'b.toml': 'file = 1\n',
      c: '',
      d: '',
      e: '',
    });
    chmodSync(join(directory, 'c'), 0o777);
    chmodSync(join(directory, 'd'), 0o644);
    const context = nodeWith({});
    const checks = await siteChecks(directory, context.probe);
    const hints = await Promise.all(checks.map(async (check) => (await check.run(context)).hint ?? check.hint));
    expect(hints).toEqual([
      'ask ann',
      'docs/health.md tells what a rule may say',
      'it runs as root: a file of root, mode 0755, in a directory that root alone may write to, as to all directories above it',
      'chmod 755 makes it a program; the name of a rule ends with .toml',
      `it is the site's own check ${join(directory, 'e')}`,
    ]);
  });
});

describe('many questions at once', () => {
  it('are all answered, in turn', async () => {
    const { probe } = nodeWith({});
    const numbers = Array.from({ length: 200 }, (_, i) => `${i}`);
    const ask = (number: string) => probe.run(['sh', '-c', `sleep 0.1; echo ${number}`], { limit: 20_000 });
    const answers = await Promise.all(numbers.map(ask));
    expect(answers.map(({ output }) => output.trim())).toEqual(numbers);
  });
});

describe("a site's rule", () => {
  it.each([
    ['matches = "^a+$"', undefined],
    ['matches = "^b+$"', 'is "aaa", which does not match ^b+$'],
    ['matches_not = "a"', 'is "aaa", which matches a'],
    ['matches_not = "b"', undefined],
  ])('%s judges "aaa": %s', (line, fault) => {
    expect(faultOf(parseRule(`file = "/text"\n${line}\n`), 'aaa')).toBe(fault);
  });

  it.each(['matches', 'matches_not'])('whose %s does not come to an end is given up in time', (key) => {
    const rule = parseRule(`file = "/text"\n${key} = "^(a+)+$"\n`);
    expect(() => faultOf(rule, `${'a'.repeat(40)}!`)).toThrow(/takes too long/);
  });
});
