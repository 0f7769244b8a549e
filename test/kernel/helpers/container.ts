import { execFile } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { builderExecutable, native } from '../../../src/native/index.js';
import {
  Builders,
  closeNamespaces,
  ContainerBuilder,
  type Identity,
  type Namespaces,
  type Specification,
} from '../../../src/container/index.js';
import { identityMap, rootMap, type SubordinateRange } from '../../../src/container/idmap.js';
import type { v1 } from '../../../src/protocol/index.js';
import type { Caller } from './caller.js';
import { program } from './programs.js';

/** The builder that is tested: scripts/sanitize.sh names the one it has made. */
export const testedBuilder = process.env['BERTH_TEST_BUILDER'] ?? builderExecutable;

/** An id nobody has; its subordinate ids. */
export const USER = { uid: 70_001, gid: 70_002, gids: [70_003] } as const;
export const SUBORDINATE: SubordinateRange = { start: 500_000_000, count: 65_536 };

export interface Wish {
  readonly uid?: number;
  readonly gid?: number;
  readonly gids?: readonly number[];
  /** Default true. */
  readonly userNamespace?: boolean;
  /** null: a user without subordinate ids. */
  readonly subordinate?: SubordinateRange | null;
  readonly mounts?: readonly v1.BuildMount.$Properties[];
  readonly files?: readonly v1.BuildFile.$Properties[];
  /** Is the user root in there? With subordinate ids where they have them. */
  readonly root?: boolean;
  readonly writable?: v1.Writable.$Properties;
  readonly unshare?: v1.Unshare.$Properties;
  readonly allowedSources?: readonly string[];
  readonly deniedSources?: readonly string[];
  readonly deniedDestinations?: readonly string[];
  /** Detached mounts; they stay the caller's. */
  readonly descriptors?: readonly number[];
  /** In milliseconds. */
  readonly timeout?: number;
  readonly workspace?: string;
}

/** What berthd would order for such a user. */
export function specificationOf(wish: Wish, workspace: string): Specification {
  const { uid = USER.uid, gid = USER.gid, gids = USER.gids, userNamespace = true } = wish;
  const range = wish.subordinate === null ? undefined : (wish.subordinate ?? SUBORDINATE);
  const { root = false } = wish;
  const identityMaps = { uidMap: identityMap([uid], range), gidMap: identityMap([gid, ...gids], range) };
  const rootMaps = { uidMap: rootMap(uid, range), gidMap: rootMap(gid, range) };
  return {
    account: {
      name: 'somebody',
      gid,
      home: '/home/somebody',
      shell: '/bin/sh',
      gecos: '',
      gids: [...gids],
      groups: [],
    },
    plan: { mounts: [], prepared: [], files: [], environment: [] },
    checks: [],
    hooks: [],
    root,
    pretend: root && range === undefined,
    ...(!userNamespace ? { uidMap: '', gidMap: '' } : root ? rootMaps : identityMaps),
    mapsImage: userNamespace && (root || range !== undefined),
    message: {
      userNamespace,
      uid,
      gid,
      gids: [...gids],
      workspace,
      mounts: [...(wish.mounts ?? [])],
      files: [...(wish.files ?? [])],
      root,
      pretend: root && range === undefined,
      writable: wish.writable ?? null,
      unshare: wish.unshare ?? null,
      allowedSources: [...(wish.allowedSources ?? [])],
      deniedSources: [...(wish.deniedSources ?? [])],
      deniedDestinations: [...(wish.deniedDestinations ?? [])],
    },
  };
}

/** How a rank enters a container: with how many other namespaces, and as what. */
export interface Entry {
  readonly unshared: number;
  readonly privileges: 'plain' | 'root' | 'pretend';
}

export const AS_RANK: Entry = { unshared: 0, privileges: 'plain' };

/** Runs a command in namespaces of ours, as a rank of the user; resolves with what it printed. */
export async function enterContainer(
  { uid, gid, gids }: Identity,
  namespaces: readonly number[],
  { unshared, privileges }: Entry,
  command: string,
  ...args: readonly string[]
): Promise<string> {
  // The shell opens the namespaces where the program looks for them.
  const redirections = namespaces.map((fd, i) => `${i + 3}</proc/${process.pid}/fd/${fd}`).join(' ');
  const groups = gids.length > 0 ? gids.join(',') : '-';
  const { stdout } = await promisify(execFile)('/bin/sh', [
    '-c',
    `exec "$@" ${redirections}`,
    'sh',
    program('enter'),
    ...[uid, gid, groups, namespaces.length, unshared, privileges].map(String),
    command,
    ...args,
  ]);
  return stdout.trimEnd();
}

/** A container, kept by its open namespaces alone. */
export class TestContainer {
  constructor(
    private readonly specification: Specification,
    readonly namespaces: Namespaces,
  ) {}

  /** Runs a command in it as a rank; resolves with what it printed. */
  run(command: string, ...args: readonly string[]): Promise<string> {
    const { root, pretend } = this.specification;
    const { uid, gid, gids } = this.specification.message;
    const { user, mount, others } = this.namespaces;
    const identity = { uid: uid ?? 0, gid: gid ?? 0, gids: gids ?? [] };
    const entry: Entry = { unshared: others.length, privileges: pretend ? 'pretend' : root ? 'root' : 'plain' };
    const namespaces = [...(user === undefined ? [] : [user]), mount, ...others];
    return enterContainer(identity, namespaces, entry, command, ...args);
  }

  /** Asks the image's /toolbox. */
  ask(question: string, ...paths: readonly string[]): Promise<string> {
    return this.run('/toolbox', question, ...paths);
  }

  close(): void {
    closeNamespaces(this.namespaces);
  }
}

/** Mounts an image file; the caller closes the mount. */
export async function mountFile(path: string): Promise<number> {
  const file = openSync(path, 'r');
  try {
    return (await native.mountImage(file, 'squashfs', -1)).mount;
  } finally {
    closeSync(file);
  }
}

/** Has the tested builder build, from its start to its end. `timeout` is in milliseconds. */
export async function buildOnce(
  specification: Specification,
  mount: number,
  caller: Caller,
  keep: (namespaces: Namespaces) => void,
  timeout = 10_000,
  descriptors: readonly number[] = [],
): Promise<void> {
  const builder = new ContainerBuilder(caller.pidfd, new Builders(testedBuilder));
  try {
    await builder.start();
    await builder.finish(specification, mount, descriptors, timeout, keep);
  } finally {
    builder.end();
  }
}

/** Builds a container of an image file, as a launch does. */
export async function construct(
  scratch: string,
  image: string,
  caller: Caller,
  wish: Wish = {},
): Promise<TestContainer> {
  const workspace = wish.workspace ?? join(scratch, 'workspace');
  mkdirSync(workspace, { recursive: true, mode: 0o755 });
  const specification = specificationOf(wish, workspace);
  const mount = await mountFile(image);
  try {
    let kept: Namespaces | undefined;
    const keep = (namespaces: Namespaces): void => {
      kept = namespaces;
    };
    await buildOnce(specification, mount, caller, keep, wish.timeout, wish.descriptors);
    if (!kept) throw new Error('the build ended without namespaces');
    return new TestContainer(specification, kept);
  } finally {
    native.close(mount);
  }
}

/** What containers of a test file are made of. */
export interface Place {
  readonly scratch: string;
  /** The image file. */
  readonly image: string;
  readonly caller: Caller;
}

/**
 * Has a test use a container of the place, with what it has `instead`; the container is let go of afterwards. `place` is
 * asked when a container is wanted.
 */
export function insideOf(
  place: () => Place,
): (wish: Wish, use: (container: TestContainer) => void | Promise<void>, instead?: Partial<Place>) => Promise<void> {
  return async (wish, use, instead) => {
    const { scratch, image, caller } = { ...place(), ...instead };
    const container = await construct(scratch, image, caller, wish);
    try {
      await use(container);
    } finally {
      container.close();
    }
  };
}
