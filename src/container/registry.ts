import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { native } from '../native/index.js';
import type { Namespaces } from './builder.js';
import { ImageServer } from './image-server.js';
import { containerKey, isRecord, type Container, type ContainerRecord, type Reservation } from './container.js';
import type { ProcessRecord } from './process-record.js';

/** Launches remembered for each container. */
const LAUNCHES_KEPT = 32;

/**
 * The containers of this node. What counts is on disk, one directory for each:
 *
 *     RUN/containers/ID/container.json   the record, written first
 *     RUN/containers/ID/other0 …         the pinned namespaces of its own beside user and mount namespace
 *     RUN/containers/ID/mnt              the pinned mount namespace, the last: with it the container exists
 *
 * on a tmpfs of its own, so that nothing survives the node's next start. Removing the pin is the whole teardown: when
 * the last process has left, the kernel frees overlay, image mount and loop device.
 */
export class Registry {
  /** Told of a container that was built; and of one that was let go of. */
  onBuilt: (container: Container) => void = () => undefined;
  onEnded: (container: Container) => void = () => undefined;
  readonly #containers = new Map<string, Container>();
  readonly #byKey = new Map<string, Container>();

  constructor(private readonly directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    native.preparePins(directory);
  }

  /**
   * Takes over what an earlier berthd left pinned and removes what it left unfinished.
   *
   * @returns the number of containers taken over
   */
  adopt(): number {
    for (const id of readdirSync(this.directory)) {
      const record = this.#readRecord(id);
      const mount = native.openPin(this.#pinOf(id));
      if (record && mount !== undefined) {
        const user = record.userNamespace ? native.owningUserNamespace(mount) : undefined;
        this.#keep({ ...record, replies: new Map() }, { mount, user, others: this.#openOthers(id) });
      } else {
        if (mount !== undefined) native.close(mount);
        this.#remove(id);
      }
    }
    return this.#containers.size;
  }

  /** Writes down a container that is being built: {@link pin} makes it one, or {@link discard} forgets it. */
  reserve(record: Omit<ContainerRecord, 'id'>): Reservation {
    const id = randomBytes(6).toString('hex');
    const complete: ContainerRecord = { id, ...record };
    try {
      mkdirSync(join(this.directory, id), { mode: 0o700 });
      writeFileSync(this.#recordOf(id), JSON.stringify(complete), { mode: 0o600 });
    } catch (error) {
      this.#remove(id);
      throw error;
    }
    return { ...complete, replies: new Map() };
  }

  /** Pins a container that has just been built and makes it known. Closes nothing: the descriptors are its own now. */
  pin(reservation: Reservation, namespaces: Namespaces): Container {
    const { id } = reservation;
    try {
      namespaces.others.forEach((fd, i) => native.pin(fd, this.#otherOf(id, i)));
      native.pin(namespaces.mount, this.#pinOf(id));
    } catch (error) {
      this.#remove(id);
      throw error;
    }
    const container = this.#keep(reservation, namespaces);
    this.onBuilt(container);
    return container;
  }

  discard({ id }: Reservation): void {
    this.#remove(id);
  }

  /** The container of that key, unless what serves its image has ended: that one is of no use, and let go of. */
  byKey(key: string): Container | undefined {
    const container = this.#byKey.get(key);
    if (!container?.server || container.imageServer?.isRunning) return container;
    this.end(container);
    return undefined;
  }

  /** Is this container still known, or has it been let go of? */
  has({ id }: Container): boolean {
    return this.#containers.has(id);
  }

  /** Notes which processes a container that belongs to no job lasts for. */
  hold(container: Container, holders: readonly ProcessRecord[]): void {
    container.holders = holders;
    const record = this.#readRecord(container.id);
    if (!record) return;
    const path = this.#recordOf(container.id);
    writeFileSync(`${path}.new`, JSON.stringify({ ...record, holders }), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  all(): Container[] {
    return [...this.#containers.values()];
  }

  /** Lets go of a container, once. Processes still inside keep it alive until they end. */
  end(container: Container): void {
    if (!this.#containers.delete(container.id)) return;
    const key = containerKey(container);
    if (this.#byKey.get(key) === container) this.#byKey.delete(key);
    this.#remove(container.id);
    for (const fd of container.namespaces) native.close(fd);
    void container.imageServer?.end();
    this.onEnded(container);
  }

  #keep(record: Reservation, { mount, user, others }: Namespaces): Container {
    const { id } = record;
    const container: Container = {
      ...record,
      holders: record.holders ?? [],
      imageServer: record.server && ImageServer.adopt(record.server),
      namespaces: [...(user === undefined ? [] : [user]), mount, ...others],
      mntns: native.namespaceId(mount),
      launches: [],
    };
    this.#containers.set(id, container);
    this.#byKey.set(containerKey(record), container);
    return container;
  }

  #openOthers(id: string): number[] {
    const others: number[] = [];
    for (let fd = native.openPin(this.#otherOf(id, 0)); fd !== undefined;) {
      others.push(fd);
      fd = native.openPin(this.#otherOf(id, others.length));
    }
    return others;
  }

  #remove(id: string): void {
    native.unpin(this.#pinOf(id));
    for (let i = 0; existsSync(this.#otherOf(id, i)); i++) native.unpin(this.#otherOf(id, i));
    rmSync(join(this.directory, id), { recursive: true, force: true });
  }

  #readRecord(id: string): ContainerRecord | undefined {
    try {
      const record: unknown = JSON.parse(readFileSync(this.#recordOf(id), 'utf8'));
      return isRecord(record) && record.id === id ? record : undefined;
    } catch {
      return undefined;
    }
  }

  #pinOf(id: string): string {
    return join(this.directory, id, 'mnt');
  }

  #otherOf(id: string, index: number): string {
    return join(this.directory, id, `other${index}`);
  }

  #recordOf(id: string): string {
    return join(this.directory, id, 'container.json');
  }
}

/** Adds a launch to the container's history, which stays short. */
export function remember(container: Container, launch: Container['launches'][number]): void {
  container.launches.push(launch);
  if (container.launches.length > LAUNCHES_KEPT) container.launches.shift();
}
