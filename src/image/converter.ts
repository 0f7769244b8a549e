import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';

/**
 * Whom the converter runs as: a number that distributions and systemd leave unused (they hand out 61184 to 65519, and
 * 65534 is nobody). Not nobody, because other services of a host run as that, and a process may trace one of its own
 * user: it could take over the descriptor that an image is written through.
 */
export const CONVERTER_UID = 65520;
export const CONVERTER_GID = 65520;

/** More compressors than this gain little: one thread reads the archive. */
const MOST_JOBS = 8;
/** Address space, in bytes: eight jobs at the highest level take 1.2 GB of it, and 70 MB of memory. */
const MEMORY_LIMIT = 4 * 1024 ** 3;
/** How much of the converter's own words is kept, in characters. */
const MESSAGE_LIMIT = 4000;

export type Conversion = { readonly ok: true } | { readonly ok: false; readonly why: string };

/**
 * Turns a tar archive into a squashfs file with tar2sqfs (squashfs-tools-ng).
 *
 * An archive is a stranger's input to a large C program, so that program is confined: a user of its own, without
 * capabilities or the way to any, in namespaces of its own for processes, network and IPC, and with a /proc where it
 * sees only itself. Its directory is not its own: all it can write is the one file that was given to it. It dies with
 * this process.
 *
 * When this resolves with `ok`, every process of it is gone: unshare(1) waits for the first process of the process
 * namespace, and the kernel ends that one last. Nobody is left then who could hold the file open for writing.
 *
 * tar2sqfs rather than sqfstar: of the same archive sqfstar (4.5) loses the root directory's owner, mode and time,
 * dates implied directories with the time of the import, cannot read sparse files and crashes on a hard link to
 * nothing.
 *
 * @param archive descriptor of the archive; the caller's to close.
 * @param directory the working directory, which others than root may pass through.
 * @param file an existing file in it that belongs to {@link CONVERTER_UID}.
 * @param signal ends the converter when it is aborted.
 */
export function convert(
  archive: number,
  directory: string,
  file: string,
  compressionLevel: number,
  signal?: AbortSignal,
): Promise<Conversion> {
  const jobs = Math.min(availableParallelism(), MOST_JOBS);
  const converter = ['tar2sqfs', '--quiet', '--force', '--no-skip'];
  converter.push('--compressor', 'zstd', '--comp-extra', `level=${compressionLevel}`);
  converter.push('--num-jobs', String(jobs), '--defaults', 'uid=0,gid=0,mode=0755,mtime=0', file);
  const [program = '', ...argv] = [...confinement(), ...converter];
  return new Promise((resolve) => {
    const child = spawn(program, argv, {
      cwd: directory,
      // tar2sqfs takes the file system's own time from SOURCE_DATE_EPOCH: the same content is to have the same digest.
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', SOURCE_DATE_EPOCH: '0' },
      stdio: [archive, 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-MESSAGE_LIMIT);
    });
    const abort = (): void => {
      child.kill('SIGKILL');
    };
    const finish = (conversion: Conversion): void => {
      signal?.removeEventListener('abort', abort);
      resolve(conversion);
    };
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort);
    child.once('error', (error) => {
      finish({ ok: false, why: `${program} could not be started: ${error.message}` });
    });
    // "close" comes after "exit", when all processes that could speak are gone.
    child.once('close', (status, killedBy) => {
      if (status === 0) finish({ ok: true });
      else finish({ ok: false, why: reason(said, status, killedBy) });
    });
  });
}

/**
 * Does the squashfs file hold device nodes? `berth import` leaves them out of what it sends, but an archive may come from
 * another client. Nothing in a container needs one of the image, and a kernel that opened it would give its user the
 * node's disks. Read by rdsquashfs (squashfs-tools-ng), confined as {@link convert}.
 *
 * @param directory the working directory; `file` is in it and readable by others.
 * @throws Error when the file cannot be read.
 */
export function holdsDeviceNodes(directory: string, file: string): Promise<boolean> {
  const [program, ...argv] = [...confinement(), 'rdsquashfs', '--describe', file];
  return new Promise((resolve, reject) => {
    const child = spawn(program, argv, {
      cwd: directory,
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    // One line for each file, its kind first (gensquashfs(1)); a line that has not ended yet stays for the next piece.
    let rest = '\n';
    let found = false;
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      rest += text;
      found ||= rest.includes('\nnod ');
      rest = rest.slice(rest.lastIndexOf('\n'));
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-MESSAGE_LIMIT);
    });
    child.once('error', reject);
    child.once('close', (status) => {
      if (status === 0) resolve(found);
      else reject(new Error(`rdsquashfs ended with status ${status ?? 'unknown'}: ${said.trim()}`));
    });
  });
}

function confinement(): string[] {
  return [
    ...['setpriv', '--pdeathsig', 'KILL'],
    ...['prlimit', '--core=0', `--as=${MEMORY_LIMIT}`],
    // A node that imports may be running somebody's job.
    ...['nice', '-n', '10'],
    // --mount-proc gives it a mount namespace too; "slave" lets what the host unmounts meanwhile go.
    ...['unshare', '--net', '--ipc', '--pid', '--mount-proc', '--propagation', 'slave', '--fork', '--kill-child=KILL'],
    ...['setpriv', `--reuid=${CONVERTER_UID}`, `--regid=${CONVERTER_GID}`, '--clear-groups', '--no-new-privs'],
    // Changing the user has cleared the death signal that --kill-child had set.
    ...['--inh-caps=-all', '--bounding-set=-all', '--pdeathsig', 'KILL'],
  ];
}

function reason(said: string, status: number | null, killedBy: NodeJS.Signals | null): string {
  const lines = said
    .split('\n')
    .map((line) => line.trim())
    // unshare(1) of util-linux 2.38 stumbles over its own signal mask when its child was killed.
    .filter((line) => line !== '' && !line.startsWith('unshare: sigprocmask'));
  if (lines.length > 0) return `tar2sqfs: ${lines.slice(-3).join('; ')}`;
  const end = killedBy ?? (status !== null && status > 128 ? `signal ${status - 128}` : undefined);
  return `tar2sqfs was ended from outside${end === undefined ? '' : ` by ${end}`}: was the node short of memory?`;
}
