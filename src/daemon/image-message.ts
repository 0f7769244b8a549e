import type { ImageRecord, ImageStore } from '../image/index.js';
import type { Registry } from '../container/index.js';
import type { v1 } from '../protocol/index.js';
import { userName } from './people.js';

/** What clients are told of an image under one of its names. */
export async function imageMessage(
  record: ImageRecord,
  { store, registry }: { readonly store: ImageStore; readonly registry: Registry },
): Promise<v1.Image.$Properties> {
  const { name, digest, size, created, source, owner, format, manifest = '', platform = '', access } = record;
  const everyone = owner === 'site' && !access;
  return {
    ...{ name, digest, size: String(size), created, source, format, manifest, platform },
    owner: owner === 'site' ? 'site' : await userName(owner),
    access: {
      everyone: everyone || access?.everyone === true,
      uids: [...(access?.uids ?? [])],
      gids: [...(access?.gids ?? [])],
    },
    containers: registry.all().filter((container) => container.digest === digest || container.volumes?.includes(digest))
      .length,
    used: await store.lastUse(digest),
  };
}
