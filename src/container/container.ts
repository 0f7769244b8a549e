import type { ImageServer, ServerRecord } from './image-server.js';
import { isProcessRecord, type ProcessRecord } from './process-record.js';
import type { Interior } from './interior.js';
import { NAMED } from '../options/index.js';
import type { v1 } from '../protocol/index.js';

/** What is written beside a container's pin, and read again by the next berthd. */
export interface ContainerRecord {
  /** 12 hexadecimal digits. */
  readonly id: string;
  readonly jobId: number;
  readonly uid: number;
  readonly gid: number;
  readonly gids: readonly number[];
  readonly user: string;
  readonly home: string;
  /** As the user gave it. */
  readonly requestedImage: string;
  /** The store's name for it, or the path of the file that it was made of. */
  readonly image: string;
  readonly digest: string;
  /** Seconds since the epoch. */
  readonly created: number;
  readonly userNamespace: boolean;
  /** Inode of the mount namespace it was built in. */
  readonly originMntns: number;
  readonly nodeName: string;
  /** Is the image only for some users, so that each launch has to look whether this one is still among them? */
  readonly restricted?: boolean;
  /** What serves the image, where that is a FUSE mount. */
  readonly server?: ServerRecord;
  /** Of one that belongs to no job: the processes that it lasts for. */
  readonly holders?: readonly ProcessRecord[];
  /** What it was asked to be like: `optionsKey` of src/options. */
  readonly optionsKey?: string;
  /** The options that a named container was made with; absent where it has no name. */
  readonly shape?: readonly string[];
  /** Absent where an earlier version of berthd built it. */
  readonly interior?: Interior;
  /** The step that it was built for; absent as above. */
  readonly stepId?: number;
  /** Digests of the images that its volumes are. */
  readonly volumes?: readonly string[];
  /** Of its caches, in MiB; absent as above. */
  readonly cacheSize?: number;
  /** Has it a layer that takes what is written? */
  readonly isWritable?: boolean;
  /** The user's directory that takes it, where there is one. */
  readonly writableDirectory?: string | undefined;
}

/** Is this a record as this version writes them? One of another version may lack something. */
export function isRecord(value: unknown): value is ContainerRecord {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Partial<Record<keyof ContainerRecord, unknown>>;
  const texts = [
    fields.id,
    fields.user,
    fields.home,
    fields.requestedImage,
    fields.image,
    fields.digest,
    fields.nodeName,
  ];
  const numbers = [fields.jobId, fields.uid, fields.gid, fields.created, fields.originMntns];
  return (
    texts.every((text) => typeof text === 'string') &&
    numbers.every((number) => Number.isInteger(number)) &&
    Array.isArray(fields.gids) &&
    fields.gids.every((gid) => Number.isInteger(gid)) &&
    typeof fields.userNamespace === 'boolean' &&
    (fields.server === undefined || isProcessRecord(fields.server)) &&
    (fields.holders === undefined || (Array.isArray(fields.holders) && fields.holders.every(isProcessRecord))) &&
    (fields.shape === undefined || Array.isArray(fields.shape)) &&
    (fields.stepId === undefined || Number.isInteger(fields.stepId)) &&
    (fields.cacheSize === undefined || Number.isInteger(fields.cacheSize)) &&
    (fields.isWritable === undefined || typeof fields.isWritable === 'boolean') &&
    (fields.writableDirectory === undefined || typeof fields.writableDirectory === 'string') &&
    (fields.volumes === undefined || Array.isArray(fields.volumes)) &&
    (fields.optionsKey === undefined || typeof fields.optionsKey === 'string') &&
    (fields.interior === undefined || (typeof fields.interior === 'object' && fields.interior !== null))
  );
}

/** A container that is being built. */
export interface Reservation extends ContainerRecord {
  /** Framed answers to launches, by what the programs want their own way. */
  readonly replies: Map<string, Buffer>;
}

/** A container on this node: a pinned mount namespace, and what belongs to it in memory. */
export interface Container extends Reservation {
  /** As in the record, which follows: {@link Registry.hold}. */
  holders: readonly ProcessRecord[];
  /** The user namespace where there is one, the mount namespace, then others that the container has of its own. */
  readonly namespaces: readonly number[];
  /** What serves its image; undefined where the kernel does, or when it had ended before berthd started. */
  readonly imageServer: ImageServer | undefined;
  /** Inode of its mount namespace: whoever is inside has it in /proc/PID/ns/mnt. */
  readonly mntns: number;
  /** The last launches into it, newest last. */
  readonly launches: v1.Launch.$Properties[];
}

/** What the container is called; empty where nobody gave it a name. */
export function nameOf({ optionsKey = '' }: Pick<ContainerRecord, 'optionsKey'>): string {
  return optionsKey.startsWith(NAMED) ? optionsKey.slice(NAMED.length) : '';
}

/**
 * Which launches share a container: same job, same user with the same groups, same view of the host, and the same image
 * and options or the same name.
 */
export function containerKey(
  record: Pick<ContainerRecord, 'jobId' | 'uid' | 'gid' | 'gids' | 'originMntns' | 'requestedImage' | 'optionsKey'>,
): string {
  const { jobId, uid, gid, gids, originMntns, requestedImage, optionsKey = '' } = record;
  const groups = [...gids].sort((a, b) => a - b).join(',');
  const what = optionsKey.startsWith(NAMED) ? optionsKey : `${optionsKey} ${requestedImage}`;
  return [jobId, uid, gid, groups, originMntns, what].join(' ');
}
