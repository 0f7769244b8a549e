import type { AskedFor } from '../options/index.js';

/** A process that asks for a container. */
export interface Caller {
  readonly pid: number;
  /** Stays the connection's: it outlives the launch. */
  readonly pidfd: number;
  /** Its mount namespace, where that was looked at: what the process has later may be another. */
  readonly mountNamespace?: number;
}

/** The files of a container's squashfs volumes, by the path that the user gave. */
export type VolumeFiles = ReadonlyMap<string, FoundFile>;

/** A file in an image's place, or a volume's, as a launch needs it. */
export interface FoundFile {
  /** What the launch asks the store for, and what its container is known by. */
  readonly image: string;
  /** As the user gave it. */
  readonly path: string;
  /** What is to be mounted as it is; without it, the store has the image. Whoever has this closes it aside. */
  readonly descriptor?: number;
}

/** One launch request, validated. */
export interface LaunchOrder extends AskedFor {
  readonly jobId: number;
  readonly stepId: number;
  readonly uid: number;
  readonly gid: number;
  readonly gids: readonly number[];
  /** In the store's own spelling; or a path, until it is known what stands for that. Empty: that of a named container. */
  readonly image: string;
  /** What the user calls it, where it has a name: other names may mean the same. */
  readonly imageName?: string;
  readonly nodeName: string;
  readonly spoolDir: string;
  /** What the image was made of, or is, where that is a user's file. */
  readonly file?: {
    readonly path: string;
    /** To be mounted as it is; the caller's to close when the launch is over. */
    readonly descriptor?: number;
  };
  /** The caller's to close when the launch is over. */
  readonly volumeFiles?: VolumeFiles;
  /** Is the container to be saved on this node when the step ends? */
  readonly saves?: boolean;
}
