import type { Logger } from 'pino';
import type { Config } from '../../config/index.js';
import type { Registry } from '../../container/index.js';
import type { Journal } from '../../events/index.js';
import type { Health } from '../../health/index.js';
import type { ImageStore } from '../../image/index.js';
import type { Meters } from '../meters.js';
import type { Observer } from '../observer.js';
import { Door } from './door.js';
import { Metrics } from './metrics.js';
import { Readers } from './readers.js';
import { StoreUsage } from './store-usage.js';

export interface DoorParts {
  readonly config: Config;
  readonly registry: Registry;
  readonly store: ImageStore;
  readonly health: Health;
  readonly journal: Journal;
  readonly meters: Meters;
  readonly observer: Observer;
  readonly log: Logger;
  /** Something was done that took memory, or gave some back. */
  readonly busy: () => void;
}

/** What berthd serves over HTTP, put together: metrics, the event stream, the node page. */
export function openDoor(parts: DoorParts): Door {
  const { journal, meters, config, store } = parts;
  const readers = new Readers(
    journal,
    () => {
      meters.readerDropped();
    },
    parts.busy,
  );
  const usage = new StoreUsage(config.store.path, store.workshop.layout.images);
  const metrics = new Metrics({ ...parts, usage, readers: () => readers.count });
  return new Door({ ...parts, metrics, readers });
}
