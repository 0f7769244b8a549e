// How examples are found in the documentation's pages, and how what a command prints is compared with them.
import { describe, expect, it } from 'vitest';
import { missingLine, readPage } from '../slurm/documentation/examples.js';

const page = (...lines: string[]): ReturnType<typeof readPage> => readPage(lines.join('\n'));

describe('a page', () => {
  it('has sessions: commands of users and of root, and what they print', () => {
    const { examples, problems } = page('Text', '```console', '$ one', 'said', '# two \\', '    words', '```');
    expect(problems).toEqual([]);
    const commands = [
      { prompt: '$', text: 'one', expected: ['said'] },
      { prompt: '#', text: 'two words', expected: [] },
    ];
    expect(examples).toEqual([
      { kind: 'session', line: 2, host: 'login', user: 'alice', commands, exit: 0, anyOrder: false },
    ]);
  });

  it('says in a comment what is otherwise with the block after it', () => {
    const { examples } = page('<!-- example: host=n1 user=bob exit=3 any-order -->', '```console', '$ one', '```');
    expect(examples).toMatchObject([{ host: 'n1', user: 'bob', exit: 3, anyOrder: true }]);
  });

  it('has files, root’s where their path is absolute, and batch scripts that are submitted', () => {
    const { examples } = page(
      ...['<!-- example: file=a/Dockerfile -->', '```dockerfile', 'FROM scratch', '```'],
      ...['<!-- example: file=/etc/berth/x host=n2 -->', '```toml', '```'],
      ...['<!-- example: batch=job.sh -->', '```sh', '#!/bin/sh', '```'],
    );
    expect(examples).toMatchObject([
      { kind: 'file', path: 'a/Dockerfile', content: 'FROM scratch\n', host: 'login', user: 'alice' },
      { kind: 'file', path: '/etc/berth/x', host: 'n2', user: 'root' },
      { kind: 'file', path: 'job.sh' },
      { kind: 'session', commands: [{ text: 'sbatch job.sh', expected: ['Submitted batch job …'] }] },
    ]);
  });

  it('has TOML that is berth.toml unless it says what else', () => {
    const { examples } = page('```toml', '```', '<!-- example: module -->', '```toml', '```');
    expect(examples).toMatchObject([{ of: 'configuration' }, { of: 'module' }]);
  });

  it('may leave one untried, for a reason', () => {
    const { examples } = page('<!-- example: not run, it needs a GPU -->', '```console', '$ nvidia-smi', '```');
    expect(examples).toEqual([{ kind: 'not run', line: 2, why: 'it needs a GPU' }]);
  });

  it('has pictures, which are none', () => {
    expect(page('```text', '$ not typed', '```')).toEqual({ examples: [], problems: [] });
  });

  it.each([
    ['a block of another language', ['```sh', 'true', '```'], 1],
    ['a comment that says nothing', ['<!-- example: quickly -->', '```console', '$ true', '```'], 2],
    ['a reason that is missing', ['<!-- example: not run -->', '```console', '$ true', '```'], 2],
    ['a session that begins with what is printed', ['```console', 'said', '```'], 1],
    ['an indented block', ['Text:', '', '    srun true'], 3],
  ])('cannot have %s', (_, lines, line) => {
    const { examples, problems } = page(...lines);
    expect(examples).toEqual([]);
    expect(problems).toMatchObject([{ line }]);
  });

  it('has tables of options, each of which is given to srun', () => {
    const row = '| `--a[=SIZE\\|DIR]` | `--a=1` | `A` |';
    const { examples } = page(
      '| option | example | variable |',
      '| --- | --- | --- |',
      row,
      '| `-b` | `sbatch -b x` | |',
      '',
    );
    expect(examples).toMatchObject([
      { line: 1, commands: [{ text: 'srun --image=alpine:3.20 --a=1 sh -c true' }, { text: 'sbatch -b x' }] },
    ]);
    expect(page('| option | example | variable |', '| --- | --- | --- |', '| `-b` | of it | |', '').problems).toEqual([
      { line: 3, what: 'an option without an example' },
    ]);
  });

  it('may indent the paragraphs of a list', () => {
    expect(page('- a point', '', '    and more of it').problems).toEqual([]);
  });
});

describe('what a command prints', () => {
  const missing = (expected: string[], printed: string[], anyOrder = false): string | undefined =>
    missingLine(expected, printed, anyOrder);

  it('has the lines in their order, and may have others between', () => {
    expect(missing(['a', 'c'], ['a', 'b', 'c'])).toBeUndefined();
    expect(missing(['c', 'a'], ['a', 'b', 'c'])).toBe('a');
  });

  it('has whole lines, in which … is anything and blanks count as one', () => {
    expect(missing(['job … (1.5 s)'], ['job 12   (1.5 s)'])).toBeUndefined();
    expect(missing(['job … (1.5 s)'], ['job 12 (175 s)'])).toBe('job … (1.5 s)');
    expect(missing(['a'], ['ab'])).toBe('a');
  });

  it('has each line as often as it is expected, also where the order is free', () => {
    expect(missing(['b', 'a'], ['a', 'b'], true)).toBeUndefined();
    expect(missing(['a', 'a'], ['a', 'b'], true)).toBe('a');
  });
});
