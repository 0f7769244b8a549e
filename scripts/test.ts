/**
 * npm test: lint, then the unit, kernel and Slurm tests. Arguments are vitest's, and leave out the linting:
 * `npm test -- --project unit`, `npm test -- test/slurm/identity.test.ts`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

interface Results {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly success: boolean;
}

function run(command: string, argv: readonly string[]): number {
  const { status, error } = spawnSync(command, argv, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  return status ?? 1;
}

function main(): number {
  const argv = process.argv.slice(2);
  if (argv.length === 0) {
    const lint = run('sh', [join(root, 'scripts', 'lint.sh')]);
    if (lint !== 0) return lint;
  }
  const directory = mkdtempSync(join(tmpdir(), 'berth-test-'));
  try {
    const report = join(directory, 'results.json');
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
    const status = run('vitest', ['run', ...reporters, ...argv]);
    const results = JSON.parse(readFileSync(report, 'utf8')) as Results;
    const { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped, success } = results;
    process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
    return status !== 0 || !success || passed === 0 ? 1 : 0;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

process.exitCode = main();
