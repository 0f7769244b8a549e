import { execFile, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { promisify } from 'node:util';
import { errorCode } from '../../errors/index.js';
import { imageFailure, type Task } from './layout.js';

const run = promisify(execFile);

/** How much of what buildah says is kept, in characters; its last line tells the cause. */
const MESSAGE_LIMIT = 16 * 1024;

/**
 * Finds out whether buildah can work for this user, who may not be root: in a user namespace it needs subordinate ids to be
 * other users in the image.
 *
 * @param task for errors.
 * @throws BerthError BERTH_IMAGE_BUILD naming what is missing.
 */
export async function checkBuildah(task: Task): Promise<void> {
  await programOrFail(task, 'buildah', 'builds images, and keeps those of podman');
  if (process.getuid?.() === 0) return;
  await programOrFail(task, 'newuidmap', 'gives a user subordinate ids (Debian: uidmap, others: shadow-utils)');
  const user = userInfo().username;
  const missing: string[] = [];
  for (const kind of ['subuid', 'subgid'] as const) if (!(await hasRange(kind, user))) missing.push(`/etc/${kind}`);
  if (missing.length === 0) return;
  throw imageFailure(
    task,
    `${user} has no subordinate ids on ${hostname()} (${missing.join(' and ')}), which the image's other users need`,
    `ask the site for them (usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST ${user}), or build elsewhere, ` +
      'push the image to a registry, and berth pull it',
  );
}

async function programOrFail(task: Task, program: string, purpose: string): Promise<void> {
  try {
    await run('sh', ['-c', 'command -v -- "$1"', 'sh', program]);
  } catch {
    throw imageFailure(
      task,
      `${program} is not installed on ${hostname()}, or not in your PATH; it ${purpose}`,
      `ask the site to install ${program}, or build elsewhere, push the image to a registry, and berth pull it`,
    );
  }
}

/** Ranges may come from the name service; getsubids(1) asks it, where it is installed. */
async function hasRange(kind: 'subuid' | 'subgid', user: string): Promise<boolean> {
  const group = kind === 'subgid' ? ['-g'] : [];
  try {
    return (await run('getsubids', [...group, user])).stdout.trim() !== '';
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') return false;
  }
  const lines = (await readFile(`/etc/${kind}`, 'utf8').catch(() => '')).split('\n');
  const uid = String(process.getuid?.() ?? 0);
  return lines.some((line) => [user, uid].includes(line.split(':')[0] ?? ''));
}

/**
 * Runs buildah, whose words go to standard error: what it says while it builds is for people.
 *
 * @param quiet keep its words to itself; the last ones are in the error.
 * @throws BerthError BERTH_IMAGE_BUILD; the signal's reason
 */
export async function runBuildah(
  task: Task,
  argv: readonly string[],
  signal: AbortSignal,
  { quiet }: { readonly quiet: boolean },
): Promise<void> {
  signal.throwIfAborted();
  const [command = ''] = argv;
  const child = spawn('buildah', argv, { stdio: ['ignore', quiet ? 'ignore' : 2, 'pipe'] });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (words: string) => {
    said = (said + words).slice(-MESSAGE_LIMIT);
    if (!quiet) process.stderr.write(words);
  });
  // It removes its working container then.
  const end = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', end);
  const status = await new Promise<string | undefined>((resolve, reject) => {
    child.once('error', (error) => {
      reject(imageFailure(task, `buildah could not be started: ${error.message}`));
    });
    child.once('close', (code, killed) => {
      resolve(code === 0 ? undefined : (killed ?? `status ${String(code)}`));
    });
  }).finally(() => {
    signal.removeEventListener('abort', end);
  });
  signal.throwIfAborted();
  if (status === undefined) return;
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  const last = lines.at(-1)?.trim().replace(/^Error: /, '') ?? `it ended with ${status}`;
  throw imageFailure(task, `buildah ${command}: ${last}`);
}
