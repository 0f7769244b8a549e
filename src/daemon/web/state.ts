import { hostname } from 'node:os';
import { occupants, type Registry } from '../../container/index.js';
import { EVENTS_VERSION, type ImageState, type Journal, type NodeState, type Viewer } from '../../events/index.js';
import type { ImageStore } from '../../image/index.js';
import { mayUse } from '../../policy/index.js';
import { version } from '../../protocol/index.js';
import type { Observer } from '../observer.js';
import { personOf } from '../people.js';

export interface StateParts {
  readonly registry: Registry;
  readonly store: ImageStore;
  readonly journal: Journal;
  readonly observer: Observer;
}

/** What is on the node now, for a viewer: their own, and of others' how many. Times are seconds since the epoch. */
export async function stateFor(viewer: Viewer, { registry, journal, observer }: StateParts): Promise<NodeState> {
  // Before anything is waited for: what happens meanwhile comes after this cursor.
  const cursor = journal.newest;
  const all = registry.all();
  const own = all.filter((container) => mayUse(viewer, container));
  const pulls = observer.pulls;
  const ownPulls = pulls.filter((pull) => mayUse(viewer, pull));
  const inside = own.length > 0 ? await occupants(own.map(({ mntns }) => mntns)) : undefined;
  return {
    v: EVENTS_VERSION,
    node: hostname(),
    berthd: version,
    uid: viewer.uid,
    time: Date.now() / 1000,
    started: Math.round(performance.timeOrigin / 1000),
    cursor,
    containers: own.map(({ id, jobId, uid, user, image, digest, created, mntns }) => {
      return { container: id, job: jobId, uid, user, image, digest, created, ranks: inside?.get(mntns)?.ranks ?? 0 };
    }),
    otherContainers: all.length - own.length,
    pulls: ownPulls,
    otherPulls: pulls.length - ownPulls.length,
  };
}

/**
 * The images that a viewer can name. Sizes are in bytes.
 *
 * @throws BerthError BERTH_IMAGE_DAMAGED, BERTH_STORE_UNUSABLE
 */
export async function imagesFor(
  viewer: Viewer,
  { registry, store }: StateParts,
): Promise<{ v: number; images: ImageState[] }> {
  const { uid, gids } = await personOf(viewer.uid);
  const images = await store.list(uid, gids);
  const running = registry.all();
  return {
    v: EVENTS_VERSION,
    images: images.map(({ name, digest, size, created, owner }) => ({
      name,
      digest,
      size,
      created,
      owner: owner === 'site' ? 'site' : 'yours',
      containers: running.filter((container) => container.digest === digest && mayUse(viewer, container)).length,
    })),
  };
}
