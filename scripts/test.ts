/**
 * npm test: the unit, kernel and Slurm tests, and beside them lint, which says its word at the end. Arguments are
 * vitest's, and leave out the linting:
 * `npm test -- --project unit`, `npm test -- test/slurm/identity.test.ts`.
 */
import { spawn } from 'node:child_process';
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

interface Ended {
  readonly status: number;
  /** What it said, where that was kept. */
  readonly output: string;
}

function run(command: string, argv: readonly string[], output: 'inherit' | 'pipe'): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, argv, { cwd: root, stdio: ['ignore', output, output] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    }
    child.once('error', reject);
    child.once('close', (status) => {
      resolve({ status: status ?? 1, output: said });
    });
  });
}

async function test(argv: readonly string[]): Promise<boolean> {
  const directory = mkdtempSync(join(tmpdir(), 'berth-test-'));
  try {
    const report = join(directory, 'results.json');
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
    const { status } = await run('vitest', ['run', ...reporters, ...argv], 'inherit');
    const results = JSON.parse(readFileSync(report, 'utf8')) as Results;
    const { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped, success } = results;
    process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
    return status === 0 && success && passed > 0;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Many tests wait for Slurm or take one processor: lint has what they leave. */
async function lint(): Promise<boolean> {
  const { status, output } = await run('nice', ['-n', '10', 'sh', join(root, 'scripts', 'lint.sh')], 'pipe');
  if (status !== 0) process.stdout.write(`${output}lint found the above\n`);
  return status === 0;
}

const argv = process.argv.slice(2);
const passed = await Promise.all(argv.length === 0 ? [test(argv), lint()] : [test(argv)]);
process.exitCode = passed.every(Boolean) ? 0 : 1;
