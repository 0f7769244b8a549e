/**
 * Where to make the hosts' mount namespaces so that programs in them can pin others.
 *
 * The kernel refuses with EINVAL to bind a mount namespace in one of a higher number, to prevent loops. Until 6.17
 * numbers rose with time. From 6.18 on each processor takes them from a batch of its own, so that a namespace made
 * later on another processor may have a lower number. slurmstepd with job_container/tmpfs and berthd would then fail
 * at random in a host. (Seen on 6.18 by reading the numbers with NS_GET_MNTNS_ID.)
 */
import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { requireCommand, runCommand, type CommandOptions } from './command.js';
import { scripts } from './layout.js';

/** Processors that this process may use, as taskset writes a list of them. */
export async function allowedProcessors(): Promise<string> {
  const status = await readFile('/proc/self/status', 'utf8');
  return /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? '0';
}

/** The processors of a list such as "0-3,8". */
export function listedProcessors(list: string): string[] {
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => String(first + index));
  });
}

/** Whether the running kernel numbers namespaces by processor. */
export function numbersByProcessor(kernel = release()): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  return major > 6 || (major === 6 && minor >= 18);
}

const script = join(scripts, 'namespace-order.sh');

/**
 * The processor on which a new mount namespace gets the lowest number.
 * @param directory an empty directory
 */
export async function lowestProcessor(
  directory: string,
  processors: readonly string[],
  options: CommandOptions,
): Promise<string> {
  return (await requireCommand(['sh', script, 'lowest', directory, ...processors], options)).trim();
}

/**
 * Whether namespaces made from now on can be pinned in a host's.
 * @param enter the command that enters the host
 * @param directory an empty directory in the host
 */
export async function canPin(
  enter: readonly string[],
  directory: string,
  processors: readonly string[],
  options: CommandOptions,
): Promise<boolean> {
  return (await runCommand([...enter, 'sh', script, 'check', directory, ...processors], options)).status === 0;
}
