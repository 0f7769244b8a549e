/** What a container is to be like besides its image, in one form whatever spelling it was asked for in. */
export interface ContainerOptions {
  /** In the order in which they were given; no two have the same destination. */
  readonly volumes: readonly Volume[];
  /** Where programs start; absolute. */
  readonly workdir?: string;
  readonly name?: ContainerName;
  /** The file that the container is saved as when the step ends; absolute. */
  readonly save?: string;
  readonly mountHome?: boolean;
  readonly remapRoot?: boolean;
  readonly entrypoint?: boolean;
  readonly entrypointLog?: boolean;
  /** False for a container that is asked to be read-only. */
  readonly writable?: false | Writable;
  /** Variables that keep the value they have outside, whatever the image says. */
  readonly keptVariables: readonly string[];
  /** Variables that the user sets. */
  readonly variables: readonly Variable[];
  readonly unshare: readonly Unshared[];
  /** Modules to use, beside those that the site uses by itself; `none` for no module at all. */
  readonly modules?: 'none' | readonly string[];
}

export type Volume = BindVolume | TmpfsVolume | SquashfsVolume | CacheVolume;

interface Placed {
  /** Absolute, without "." and "..". */
  readonly destination: string;
  /** The option as the user wrote it, for messages and `berth explain`. */
  readonly origin: string;
}

export interface BindVolume extends Placed {
  readonly kind: 'bind';
  readonly source: string;
  readonly readOnly: boolean;
  /** With what is mounted below the source. */
  readonly recursive: boolean;
  readonly propagation: 'slave' | 'private';
}

export interface TmpfsVolume extends Placed {
  readonly kind: 'tmpfs';
  /** MiB; the site's default when it is not given. */
  readonly size?: number;
}

/** A squashfs file of the user's, whose content appears at the destination. */
export interface SquashfsVolume extends Placed {
  readonly kind: 'squashfs';
  readonly source: string;
}

/** A file system of the job's own on each node, in one sparse file. */
export interface CacheVolume extends Placed {
  readonly kind: 'cache';
  /** The directory in which the file is made. */
  readonly source: string;
  /** MiB */
  readonly size: number;
  readonly filesystem: 'xfs' | 'ext4';
}

export interface ContainerName {
  readonly name: string;
  /** `create`: there must be none yet; `exec`, `no_exec`: Pyxis's words for entering a running container, or not. */
  readonly mode: 'auto' | 'create' | 'exec' | 'no_exec';
}

/** Where what is written goes: memory, with a limit in MiB, or a directory. */
export interface Writable {
  readonly size?: number;
  readonly directory?: string;
}

export interface Variable {
  readonly name: string;
  readonly value: string;
}

export type Unshared = 'net' | 'ipc' | 'uts';
