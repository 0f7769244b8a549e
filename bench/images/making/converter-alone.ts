/** skopeo copy, then berth-converter on the blobs: what converting without unpacking saves by itself. */
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { assemble, convert } from '../converter.js';
import { timed } from '../../program.js';
import { layersOf } from './layout.js';
import { copyFromRegistry } from './peers.js';
import type { Place, Session, Way } from './ways.js';

export const converterWay: Way = { id: 'converter', title: 'skopeo, berth-converter', begin };

async function begin(place: Place): Promise<Session> {
  const { directory, compression, signal } = place;
  await mkdir(directory);
  const layout = join(directory, 'layout');
  const image = (tag: string): string => join(directory, `${tag}.squashfs`);
  const converted = new Map<string, string>();

  const convertLayers = async (tag: string): Promise<void> => {
    for (const { digest, path } of await layersOf(layout, tag)) {
      if (converted.has(digest)) continue;
      const target = join(directory, `${digest.slice('sha256:'.length)}.layer`);
      await convert('layer', path, target, compression, { signal });
      converted.set(digest, target);
    }
  };
  const assembleImage = async (tag: string): Promise<void> => {
    const layers = await layersOf(layout, tag);
    await assemble(
      layers.map(({ digest }) => converted.get(digest) ?? ''),
      image(tag),
      { signal },
    );
  };
  return {
    daemons: [],
    pull: async (tag) => ({
      'skopeo copy': await timed(() => copyFromRegistry(place, layout, tag)),
      'berth-converter layer': await timed(() => convertLayers(tag)),
      'berth-converter assemble': await timed(() => assembleImage(tag)),
    }),
    tidy: () => Promise.resolve(),
    imageSize: async (tag) => (await stat(image(tag))).size,
    end: () => rm(directory, { recursive: true, force: true }),
  };
}
