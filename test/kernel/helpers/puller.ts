import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestDaemon } from './daemon.js';

const script = join(import.meta.dirname, '..', '..', '..', 'build', 'lib', 'cli.js');

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Run {
  readonly child: ChildProcess;
  /** What it has said so far. */
  readonly said: () => string;
  readonly result: Promise<Result>;
}

/** The command line in the hands of a plain user, who has a home directory, beside a real berthd. */
export class Puller {
  readonly home: string;

  constructor(
    private readonly daemon: TestDaemon,
    readonly uid: number,
  ) {
    this.home = join(daemon.directory, `home-${uid}`);
    mkdirSync(this.home, { mode: 0o700 });
    chownSync(this.home, uid, uid);
  }

  /** Starts berth. */
  start(argv: readonly string[], how: { env?: Readonly<Record<string, string>>; input?: string } = {}): Run {
    const child = spawn(process.execPath, [script, '--socket', this.daemon.socket, ...argv], {
      uid: this.uid,
      gid: this.uid,
      cwd: this.home,
      env: { PATH: '/usr/bin:/bin', HOME: this.home, ...how.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.stdin.on('error', () => undefined);
    child.stdin.end(how.input ?? '');
    const result = once(child, 'close').then(([status]) => ({ status: status as number | null, stdout, stderr }));
    return { child, said: () => stdout + stderr, result };
  }

  /** Runs berth. */
  berth(argv: readonly string[], how?: { env?: Readonly<Record<string, string>>; input?: string }): Promise<Result> {
    return this.start(argv, how).result;
  }

  /** Runs berth pull for a registry without TLS. */
  pull(...argv: readonly string[]): Promise<Result> {
    return this.berth(['pull', '--tls-verify=false', ...argv]);
  }

  /** Writes a file below the home directory. */
  write(path: string, text: string): void {
    const argv = ['-c', 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod 600 "$1"', 'sh', path];
    execFileSync('sh', argv, { uid: this.uid, gid: this.uid, cwd: this.home, input: text });
  }

  /** Programs of that name that this user runs. */
  running(name: string): number[] {
    return readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .filter((pid) => {
        try {
          const status = readFileSync(`/proc/${pid}/status`, 'utf8');
          const isTheirs = status.startsWith(`Name:\t${name}\n`) && status.includes(`\nUid:\t${this.uid}\t`);
          // What has ended, and nobody has waited for, does not run.
          return isTheirs && !/^State:\tZ/m.test(status);
        } catch {
          return false;
        }
      })
      .map(Number);
  }
}

/** The paths in the image that a store has under a digest. */
export function imagePaths(daemon: TestDaemon, digest: string): string[] {
  const file = join(daemon.directory, 'store/images/sha256', `${digest.slice('sha256:'.length)}.squashfs`);
  const lines = execFileSync('unsquashfs', ['-l', '-d', '', file]).toString().trim().split('\n');
  return lines.filter((line) => line.startsWith('/'));
}

/** What is not finished in a store, and should not stay. */
export function unfinished(daemon: TestDaemon): string[] {
  return ['tmp', 'leases'].flatMap((part) => {
    try {
      return readdirSync(join(daemon.directory, 'store', part)).map((name) => `${part}/${name}`);
    } catch {
      return [];
    }
  });
}
