/** What it costs to make an image of one in a registry, beside the tools that do the same in steps. */
import { join } from 'node:path';
import { Registry } from '../../../test/registry/registry.js';
import type { Progress } from '../../bench.js';
import { installPeers, peers } from '../../packages.js';
import type { Compression } from '../converter.js';
import { run } from '../../program.js';
import { berthWay } from './berth.js';
import { converterWay } from './converter-alone.js';
import { layersOf } from './layout.js';
import { peersWay } from './peers.js';
import { takeSamples, type Sample } from './samples.js';
import type { FileSystem } from '../scratch-disk.js';
import { sourceImage, tags, type Tag } from './source-image.js';

/** The one that others are compared with comes first. */
export const ways = [peersWay, converterWay, berthWay] as const;

export interface MakingPlan {
  readonly rounds: number;
  readonly fileSystem: FileSystem;
  readonly compression: Compression;
  readonly processors: number;
}

export interface Making {
  readonly fileSystem: FileSystem;
  readonly processors: number;
  /** Bytes of each layer as the registry has it, the lowest first. */
  readonly layers: Readonly<Record<Tag, readonly number[]>>;
  readonly ways: readonly { readonly id: string; readonly title: string }[];
  readonly samples: readonly Sample[];
}

/** @param base an empty directory for the disk that is written to, as a file */
export async function measureMaking(
  { rounds, fileSystem, compression, processors }: MakingPlan,
  base: string,
  signal: AbortSignal,
  say: Progress,
): Promise<Making> {
  await installPeers(peers.making);
  const layout = await sourceImage(say, signal);
  const registry = await Registry.start();
  try {
    say('a registry with the image');
    const repository = `${registry.host}/bench/image`;
    for (const tag of Object.values(tags)) {
      const options = ['--insecure-policy', 'copy', '--quiet', '--dest-tls-verify=false'];
      await run(['skopeo', ...options, `oci:${layout}:${tag}`, `docker://${repository}:${tag}`], { signal });
    }
    const plan = { rounds, fileSystem, compression, processors, repository, signal };
    const samples = await takeSamples(ways, plan, join(base, 'making'), say);
    const sizes = async (tag: Tag) => (await layersOf(layout, tag)).map(({ size }) => size);
    return {
      fileSystem,
      processors,
      layers: {
        first: await sizes('first'),
        'small-change': await sizes('small-change'),
        'large-change': await sizes('large-change'),
      },
      ways: ways.map(({ id, title }) => ({ id, title })),
      samples,
    };
  } finally {
    await registry.stop();
  }
}
