/** skopeo copy, umoci unpack, mksquashfs: the same result by the tools that are there already. */
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { run, timed } from '../../program.js';
import type { Place, Session, Way } from './ways.js';

export const peersWay: Way = { id: 'peers', title: 'skopeo, umoci, mksquashfs', begin };

/** Copies a tag into an OCI layout. Blobs that are there already are not copied again. */
export async function copyFromRegistry({ repository, signal }: Place, layout: string, tag: string): Promise<void> {
  const from = `docker://${repository}:${tag}`;
  const options = ['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false'];
  await run(['skopeo', ...options, from, `oci:${layout}:${tag}`], { signal });
}

async function begin(place: Place): Promise<Session> {
  const { directory, processors, signal } = place;
  const { level, blockSize } = place.compression;
  await mkdir(directory);
  const layout = join(directory, 'layout');
  const bundle = join(directory, 'bundle');
  const image = (tag: string): string => join(directory, `${tag}.squashfs`);
  const squash = (tag: string): readonly string[] => [
    ...['mksquashfs', join(bundle, 'rootfs'), image(tag), '-noappend', '-quiet', '-no-progress'],
    ...['-comp', 'zstd', '-Xcompression-level', String(level), '-b', String(blockSize)],
    ...['-processors', String(processors)],
  ];
  return {
    daemons: [],
    pull: async (tag) => ({
      'skopeo copy': await timed(() => copyFromRegistry(place, layout, tag)),
      'umoci unpack': await timed(() => run(['umoci', 'unpack', '--image', `${layout}:${tag}`, bundle], { signal })),
      mksquashfs: await timed(() => run(squash(tag), { quiet: true, signal })),
    }),
    // Other tools start from a clean directory as well: umoci unpacks into none that exists.
    tidy: () => rm(bundle, { recursive: true, force: true }),
    imageSize: async (tag) => (await stat(image(tag))).size,
    end: () => rm(directory, { recursive: true, force: true }),
  };
}
