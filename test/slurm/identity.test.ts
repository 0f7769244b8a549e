import { chmod, chown, copyFile, mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { account, physics, serviceAccounts } from '../cluster/accounts.js';
import { configurations, Site } from './site.js';

let site: Site;
beforeAll(async () => {
  site = await Site.start({
    nameService: true,
    berthConfig: '[container]\nmounts = ["/home/project"]\n',
    prepare: async ({ cluster }) => {
      await makeProject(join(cluster.layout.home, 'project'));
      for (const { name, groups } of serviceAccounts)
        await makeProject(join(cluster.layout.home, name, 'shared'), groups.at(-1)?.gid);
      const setuid = join(cluster.layout.home, 'alice', 'setuid-id');
      await copyFile('/usr/bin/id', setuid);
      await chmod(setuid, 0o4755);
    },
  });
  return () => site.stop();
});

/** A directory like a project's on a cluster: its group's alone. */
async function makeProject(directory: string, gid: number = physics.gid): Promise<void> {
  await mkdir(directory);
  await writeFile(join(directory, 'data'), 'data of physics\n');
  await Promise.all([chmod(directory, 0o2770), chmod(join(directory, 'data'), 0o640)]);
  await Promise.all([chown(directory, 0, gid), chown(join(directory, 'data'), 0, gid)]);
}

/** Who one is where this runs, and who of the site is known: ids from 2000 on are its users'. */
const LOOK = `#!/bin/bash
id; id -Gn
awk -F: '$3 >= 2000 && $3 < 60000' /etc/passwd
awk -F: '$3 >= 2000 && $3 < 60000' /etc/group | sort
echo ~; echo "$HOME"; echo "$SHELL"; pwd; whoami
`;

describe.each(configurations())('with userns = $userns', (configuration) => {
  const { userns } = configuration;
  const lines = (script: string, user = 'alice'): Promise<string[]> => site.lines(configuration, script, { user });
  const contained = (script: string, user?: string): Promise<string[]> =>
    lines(`srun --quiet --image=debian bash -c '${script}'`, user);

  it.each(['alice', 'bob', 'carol'])('%s has the same user and groups as outside', async (user) => {
    const outside = await lines('id', user);
    expect(await contained('id; id -un; id -Gn; echo ~; whoami', user)).toEqual([
      ...outside,
      user,
      user === 'alice' ? `alice ${physics.name}` : user,
      account(user).home,
      user,
    ]);
  });

  describe.each(serviceAccounts)(
    '$name, whom only the name service knows',
    ({ name, uid, gid, home, shell, groups }) => {
      const ids = [gid, ...groups.map((each) => each.gid)];
      const names = ['people', ...groups.map((each) => each.name)];

      it('is in no file outside', async () => {
        const outside = await lines(`getent passwd ${name}; id; grep -c -E '^${name}:' /etc/passwd || true`, name);
        expect(outside.slice(0, 1)).toEqual([`${name}:x:${uid}:${gid}:${name}:${home}:${shell}`]);
        expect(outside.slice(2)).toEqual(['0']);
      });

      it('has the same user and groups as outside, and nobody of the site besides', async () => {
        const outside = await lines('id; id -Gn', name);
        expect(outside[0]).toBe(
          `uid=${uid}(${name}) gid=${gid}(people) groups=${ids.map((id, index) => `${id}(${names[index] ?? ''})`).join(',')}`,
        );
        await site.write('look', LOOK, name);
        const inside = await lines('srun --quiet --image=debian ./look', name);
        expect(inside.slice(0, 2)).toEqual(outside);
        expect(inside.slice(2)).toEqual([
          `${name}:x:${uid}:${gid}:${name}:${home}:${shell}`,
          ...names.map((each, index) => `${each}:x:${ids[index] ?? ''}:`).sort(),
          ...[home, home, shell, home, name],
        ]);
      });

      it('has what the groups give', async () => {
        await lines("srun --quiet --image=debian sh -c 'echo mine >shared/file'", name);
        const { uid: owner, gid: group } = await stat(join(site.cluster.layout.home, name, 'shared/file'));
        expect([owner, group]).toEqual([uid, groups.at(-1)?.gid]);
      });
    },
  );

  it('a supplementary group gives what it gives outside', async () => {
    const made = `made-${userns}`;
    expect(await contained(`cat /home/project/data; touch /home/project/${made} mine; chgrp physics mine`)).toEqual([
      'data of physics',
    ]);
    const { home } = site.cluster.layout;
    const [shared, own] = await Promise.all([stat(join(home, 'project', made)), stat(join(home, 'alice', 'mine'))]);
    expect([shared.uid, shared.gid]).toEqual([account('alice').uid, physics.gid]);
    expect([own.uid, own.gid]).toEqual([account('alice').uid, physics.gid]);
    expect(await contained('cat /home/project/data 2>&1 || true', 'bob')).toEqual([
      'cat: /home/project/data: Permission denied',
    ]);
  });

  const OWNERS =
    'cd /fixtures; stat --format="%n %U:%G %a" root-owned daemon-owned setgid setuid-id; stat --format="%n %U:%G" / /etc/shadow';

  it("the image's files show their true owners", async () => {
    const owners = [
      'root-owned root:root 644',
      'daemon-owned daemon:daemon 600',
      'setgid root:staff 2755',
      'setuid-id root:root 4755',
      '/ root:root',
      '/etc/shadow root:shadow',
    ];
    expect(await contained(OWNERS)).toEqual(owners);
    expect(await contained(OWNERS, 'bob')).toEqual(owners);
  });

  it('a user without subordinate ids has a container, too', async () => {
    const seen = await contained(`cat /image; touch mine; ${OWNERS}`, 'carol');
    const owner = userns === 'on' ? 'nobody:nogroup' : 'root:root';
    expect(seen).toContain(`root-owned ${owner} 644`);
    expect(seen).toContain('debian');
    const { uid } = await stat(join(site.cluster.layout.home, 'carol', 'mine'));
    expect(uid).toBe(account('carol').uid);
  });

  it("what the image's owners keep to themselves stays so", async () => {
    const seen = await contained(
      'cat /fixtures/daemon-owned 2>&1; cat /etc/shadow 2>&1; touch /fixtures/setgid/x 2>&1; true',
    );
    expect(seen).toEqual([
      'cat: /fixtures/daemon-owned: Permission denied',
      'cat: /etc/shadow: Permission denied',
      "touch: cannot touch '/fixtures/setgid/x': Read-only file system",
    ]);
  });

  it('a rank has no capability, and none to gain', async () => {
    const seen = await contained('grep -E "^(Cap|NoNewPrivs)" /proc/self/status');
    expect(seen).toEqual([
      ...['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}:\t0000000000000000`),
      'NoNewPrivs:\t1',
    ]);
  });

  it('a setuid file gains nothing, in the image or at home', async () => {
    const [outside] = await lines('id');
    expect(await contained('/fixtures/setuid-id; ./setuid-id')).toEqual([outside, outside]);
  });

  it('the root file system cannot be written to, nor made writable', async () => {
    // mount(2) by its number on x86-64, as the image has no mount(8): MS_REMOUNT | MS_BIND, without MS_RDONLY.
    await site.write(
      'remount',
      `#!/usr/bin/perl
      use Errno;
      exit 0 if syscall(165, my $none = 'none', my $root = '/', 0, 0x1020, 0) == 0;
      exit($!{EPERM} ? 3 : 4);`,
    );
    const seen = await contained(`
      for place in / /etc/ /usr/bin/ /opt/; do touch \${place}x 2>&1; done
      unshare --user --map-root-user --mount ./remount; echo $?
      ./remount; echo $?`);
    expect(seen).toEqual([
      ...['/x', '/etc/x', '/usr/bin/x', '/opt/x'].map((path) => `touch: cannot touch '${path}': Read-only file system`),
      '3',
      '3',
    ]);
  });
});

it.each(serviceAccounts)('$name, whom only the name service knows, is the same with berth run', async ({ name }) => {
  const [on] = site.configurations;
  await site.write('look', LOOK, name);
  const bySlurm = await site.lines(on, 'srun --quiet --image=debian ~/look', { user: name });
  expect(await site.lines(on, 'berth run debian ~/look', { user: name })).toEqual(bySlurm);
});
