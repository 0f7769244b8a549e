import { statSync } from 'node:fs';
import { join } from 'node:path';
import { findSquashfuse, SQUASHFUSE, SQUASHFUSE_PLACES } from '../../container/index.js';
import { fail, pass, some, unknown, warn, type Check, type Context, type Verdict } from '../check.js';
import { readMounts, readSmall, type Places } from '../places.js';
import { ProbeFailure } from '../probe.js';

/** A user who owns nothing, by number: who may not do what everybody must be able to. */
const NOBODY = ['65534', '65534'];

/** The sysctls with which distributions forbid user namespaces: file, and the value that does. */
const USERNS_SWITCHES = [
  { file: 'sys/user/max_user_namespaces', forbids: '0', name: 'user.max_user_namespaces' },
  { file: 'sys/kernel/unprivileged_userns_clone', forbids: '0', name: 'kernel.unprivileged_userns_clone' },
  {
    file: 'sys/kernel/apparmor_restrict_unprivileged_userns',
    forbids: '1',
    name: 'kernel.apparmor_restrict_unprivileged_userns',
  },
] as const;

/**
 * Where the kernel shows itself. What is mounted there later (systemd does so with binfmt_misc, on nearly every node) is
 * nothing that programs in containers look for.
 */
const KERNEL_DIRECTORIES = ['/proc', '/sys', '/dev'];

/** Does this kernel have, and permit, what containers are made of? */
export const kernelChecks: readonly Check[] = [
  {
    id: 'kernel-filesystems',
    family: 'kernel',
    reads: '/proc/filesystems, and the modules of the running kernel under /lib/modules',
    rule: 'squashfs and overlay are there or can be loaded; without erofs a warning',
    matters: 'images are squashfs (or erofs) and mounted by the kernel; a container lies over its image as an overlay',
    hint: 'install the package with all modules of the running kernel (kernel-modules-extra, linux-modules-extra), or allow these',
    run: ({ places }) => {
      const missing = ['squashfs', 'overlay', 'erofs'].filter((name) => !hasFilesystem(places, name));
      const needed = missing.filter((name) => name !== 'erofs');
      if (needed.length > 0) return fail(`this kernel has no ${needed.join(', no ')}`);
      return missing.length > 0 ? warn('this kernel has no erofs') : pass('squashfs, erofs and overlay');
    },
  },
  {
    id: 'idmapped-mounts',
    family: 'kernel',
    reads: 'the kernel release',
    rule: 'Linux 5.18 or newer, where containers have user namespaces; 5.8 where not',
    matters: 'older kernels cannot show the files of an image with their true owners, and fail the launch',
    hint: 'a newer kernel, or [container] userns = "off"',
    run: ({ config, places }) => {
      const release = (readSmall(places.proc, 'sys/kernel/osrelease') ?? '').trim();
      const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
      const least = config.container.userns === 'on' ? 18 : 8;
      const isNew = major > 5 || (major === 5 && minor >= least);
      return isNew ? pass(`Linux ${release}`) : fail(`Linux ${release} is older than 5.${least}`);
    },
  },
  {
    id: 'user-namespaces',
    family: 'kernel',
    reads: `${USERNS_SWITCHES.map(({ name }) => name).join(', ')}; and makes one as nobody`,
    rule: 'a plain user can make a user namespace, unless [container] userns = "off"',
    matters: 'every container has one, made with the rights of the user',
    hint: 'set the sysctl that is named here for good (sysctl.d(5)), or [container] userns = "off"',
    run: (context) => checkUserNamespaces(context),
  },
  {
    id: 'subordinate-ids',
    family: 'kernel',
    reads: '/etc/subuid and /etc/subgid',
    rule: 'lines are NAME:START:COUNT, no two ranges overlap, none has ids below 65536; warns where there is none at all',
    matters:
      "overlapping ranges give one user's files in containers to another; without ranges images show as nobody's",
    hint: 'subuid(5): give each user 65536 ids of their own, the same in both files',
    run: ({ config, places }) => {
      if (config.container.userns === 'off') return pass('not used: [container] userns is "off"');
      const faults = ['subuid', 'subgid'].flatMap((file) => subordinateFaults(readSmall(places.etc, file) ?? '', file));
      if (faults.length > 0) return fail(some(faults));
      const none = ['subuid', 'subgid'].filter((file) => (readSmall(places.etc, file) ?? '').trim() === '');
      return none.length > 0 ? warn(`no ranges in /etc/${none.join(' and /etc/')}`) : pass('ranges are sane');
    },
  },
  {
    id: 'loop-devices',
    family: 'kernel',
    reads: '/dev/loop-control, and the loop device that it says is free',
    rule: 'there is a free one, and it can be opened',
    matters: 'each image that is in use takes a loop device',
    hint: 'losetup --list shows who has them; /dev has to be a devtmpfs, or the loop module to be loaded with max_loop',
    run: async ({ probe }) => {
      try {
        const index = (await probe.ask('loop', [])).toString().trim();
        return pass(`/dev/loop${index} is free`);
      } catch (error) {
        if (!(error instanceof ProbeFailure)) throw error;
        return fail(`no loop device can be had: ${error.message}`);
      }
    },
  },
  {
    id: 'fuse',
    family: 'kernel',
    reads: `/dev/fuse, and where ${SQUASHFUSE} is installed`,
    rule: `with [store] files = "fuse", /dev/fuse has mode 0666 and ${SQUASHFUSE} is there`,
    matters: "without them users' image files cannot be launched on this node",
    hint: "install the package squashfuse; udev's own rules give /dev/fuse its mode",
    run: ({ config }) => {
      if (config.store.files !== 'fuse') return pass(`not used: [store] files is "${config.store.files}"`);
      if (findSquashfuse() === undefined) return fail(`${SQUASHFUSE} is not in ${SQUASHFUSE_PLACES.join(', ')}`);
      const device = statSync('/dev/fuse', { throwIfNoEntry: false });
      if (!device) return fail('there is no /dev/fuse');
      const isOpen = (device.mode & 0o666) === 0o666;
      return isOpen ? pass('users may open /dev/fuse') : fail('users may not open /dev/fuse');
    },
  },
  {
    id: 'mount-propagation',
    family: 'kernel',
    reads: '/proc/self/mountinfo, and the mount namespace of berthd',
    rule: "the pins' directory is a private mount; mounts of autofs outside of /proc, /sys and /dev are shared",
    matters:
      'a shared pin is copied into every new mount namespace, and its container never ends; on a private / what autofs mounts does not reach running containers',
    hint: 'mount --make-private on the directory named here; mount --make-rshared / where autofs is used',
    run: ({ config, places }) => checkPropagation(join(config.daemon.runtimeDirectory, 'containers'), places),
  },
];

function hasFilesystem(places: Places, name: string): boolean {
  const listed = (readSmall(places.proc, 'filesystems') ?? '').split('\n').map((line) => line.split('\t')[1]);
  if (listed.includes(name)) return true;
  const release = (readSmall(places.proc, 'sys/kernel/osrelease') ?? '').trim();
  // Loaded when it is first used.
  const known = readSmall('/lib/modules', release, 'modules.dep') ?? '';
  return new RegExp(`/${name}\\.ko(\\.\\w+)?:`).test(known);
}

async function checkUserNamespaces({ config, places, probe }: Context): Promise<Verdict> {
  if (config.container.userns === 'off') return pass('not used: [container] userns is "off"');
  const forbidden = USERNS_SWITCHES.filter(({ file, forbids }) => readSmall(places.proc, file)?.trim() === forbids);
  const named = forbidden.map(({ name, forbids }) => `${name} = ${forbids}`).join(' and ');
  try {
    await probe.ask('userns', NOBODY);
  } catch (error) {
    if (!(error instanceof ProbeFailure)) throw error;
    if (error.kind === 'silent') return unknown(`whether users may make them: ${error.message}`);
    return fail(`users cannot make user namespaces: ${named || error.message}`);
  }
  // AppArmor lets the namespace be made, and takes away what can be done in it.
  return forbidden.length > 0 ? fail(`${named} forbids what containers are made of`) : pass('users can make them');
}

function subordinateFaults(text: string, file: string): string[] {
  const faults: string[] = [];
  const ranges: { readonly start: number; readonly end: number; readonly line: string }[] = [];
  for (const line of text.split('\n')) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [, start, count] = /^[^:]+:(\d+):(\d+)$/.exec(line) ?? [];
    if (start === undefined || count === undefined) faults.push(`/etc/${file} has the line "${line}"`);
    else if (Number(start) < 65_536) faults.push(`/etc/${file} gives away ids of the node's own: "${line}"`);
    else if (Number(count) > 0) ranges.push({ start: Number(start), end: Number(start) + Number(count), line });
  }
  ranges.sort((a, b) => a.start - b.start);
  for (let i = 1; i < ranges.length; i++) {
    const [before, range] = [ranges[i - 1], ranges[i]];
    if (before && range && before.end > range.start && before.line !== range.line)
      faults.push(`/etc/${file}: "${before.line}" and "${range.line}" overlap`);
  }
  return faults;
}

function checkPropagation(pins: string, places: Places): Verdict {
  const mounts = readMounts(places);
  const pinned = mounts.findLast(({ point }) => point === pins);
  if (!pinned) return fail(`${pins} is no mount of its own, as berthd makes it`);
  if (pinned.propagation.some((word) => word.startsWith('shared:'))) return fail(`${pins} is a shared mount`);
  const unheard = mounts
    .filter(({ type, point, propagation }) => {
      // Of what autofs mounts, the autofs mount is the parent: its copies in containers hear of it in either case.
      const isHeard = propagation.some((word) => word.startsWith('shared:') || word.startsWith('master:'));
      return (
        type === 'autofs' && !isHeard && !KERNEL_DIRECTORIES.some((directory) => point.startsWith(`${directory}/`))
      );
    })
    .map(({ point }) => point);
  if (unheard.length > 0) {
    return warn(`what autofs mounts on ${some([...new Set(unheard)])} does not reach running containers`);
  }
  return pass('pins are private, and later mounts reach containers');
}
