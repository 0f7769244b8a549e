import type { CaptureOptions, Cluster } from '../test/cluster/cluster.js';

/**
 * Runs a command in a host of a cluster that has to succeed, and gives its stdout.
 * @throws Error with what it wrote when it fails
 */
export async function mustExec(
  cluster: Cluster,
  host: string,
  argv: readonly string[],
  options: CaptureOptions = {},
): Promise<string> {
  const { status, signal, stdout, stderr } = await cluster.exec(host, argv, options);
  if (status === 0) return stdout;
  throw new Error(
    `${argv.join(' ')}\nended with ${signal ?? `status ${String(status)}`} on ${host}:\n${stdout}${stderr}`,
  );
}
