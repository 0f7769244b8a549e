import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { debianRootfs } from '../../scripts/library/rootfs.js';
import { Caller } from './helpers/caller.js';
import { construct, type Wish } from './helpers/container.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

// A package manager in a Debian image, as an ordinary user who is root in the container.

let scratch: string;
let image: string;
let caller: Caller;

beforeAll(async () => {
  scratch = makeScratch();
  // The one that the Slurm tests run.
  const { tar } = await debianRootfs('test', ['mpich', 'openmpi-bin']);
  image = join(scratch, 'debian.squashfs');
  const plain = ['-noI', '-noD', '-noF', '-noX', '-no-progress', '-quiet'];
  execFileSync('/bin/sh', ['-c', 'exec sqfstar "$@" <"$0" 2>&1', tar, ...plain, image]);
  makeRepository(join(scratch, 'repository'));
  caller = await Caller.connect(scratch);
}, 120_000);

afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});

leavesNothing(() => scratch);

/** What a package's own scripts do as a matter of course. */
const POSTINST = `#!/bin/sh
set -e
useradd --system --no-create-home keeper
install -d -o keeper -g adm /var/lib/example
chown www-data:www-data /usr/share/example/data
`;

/** A repository of one package. */
function makeRepository(directory: string): void {
  const root = join(directory, 'root');
  mkdirSync(join(root, 'DEBIAN'), { recursive: true });
  mkdirSync(join(root, 'usr/share/example'), { recursive: true });
  const fields = [
    'Package: example',
    'Version: 1.0',
    'Architecture: all',
    'Maintainer: Somebody <somebody@example.org>',
  ];
  const control = [...fields, 'Description: an example'].join('\n');
  writeFileSync(join(root, 'DEBIAN/control'), `${control}\n`);
  writeFileSync(join(root, 'DEBIAN/postinst'), POSTINST);
  chmodSync(join(root, 'DEBIAN/postinst'), 0o755);
  writeFileSync(join(root, 'usr/share/example/data'), 'data\n');
  const archive = join(directory, 'example.deb');
  execFileSync('dpkg-deb', ['--root-owner-group', '--build', root, archive]);
  const content = readFileSync(archive);
  const digest = createHash('sha256').update(content).digest('hex');
  const packages = [control, 'Filename: ./example.deb', `Size: ${content.length}`, `SHA256: ${digest}`].join('\n');
  writeFileSync(join(directory, 'Packages'), `${packages}\n`);
}

async function install(wish: Wish): Promise<string> {
  const container = await construct(scratch, image, caller, {
    root: true,
    writable: { size: 512 },
    mounts: [
      { source: '/proc', destination: '/proc' },
      { source: '/dev', destination: '/dev', devices: true },
      { source: join(scratch, 'repository'), destination: '/repository' },
    ],
    ...wish,
  });
  const script = [
    'export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive',
    'echo "deb [trusted=yes] file:/repository ./" >/etc/apt/sources.list',
    '{ apt-get update && apt-get install --yes example; } >/tmp/log 2>&1 || cat /tmp/log',
    'stat --format=%U:%G /usr/share/example/data /var/lib/example /etc/shadow',
    'id --name --user',
    'id --user keeper',
  ];
  try {
    return await container.run('/bin/sh', '-c', script.join('\n'));
  } finally {
    container.close();
  }
}

describe('apt-get install', () => {
  it('works with subordinate ids, and every file has the owner it should', { timeout: 60_000 }, async () => {
    const answer = await install({});
    expect(answer).toBe('www-data:www-data\nkeeper:adm\nroot:shadow\nroot\n999');
  });

  it("works without: every file is then the user's, who is called root", { timeout: 60_000 }, async () => {
    const answer = await install({ subordinate: null });
    expect(answer).toBe('root:root\nroot:root\nroot:root\nroot\n999');
  });
});
