/** What stands in for images of registries, packages and devices, as no test may need the Internet or a GPU. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { debianRootfs } from '../../../scripts/library/rootfs.js';
import type { Document } from '../../registry/image.js';
import type { Registry } from '../../registry/registry.js';

const run = promisify(execFile);

/** What examples pull, by the repository of the local registry that has it instead. */
const REMOTE: Readonly<Record<'debian' | 'small', readonly (readonly [repository: string, tag: string])[]>> = {
  debian: [
    ['docker.io/library/debian', '12'],
    ['docker.io/library/ubuntu', '24.04'],
    ['docker.io/pytorch/pytorch', '2.4'],
    ['docker.io/jupyter/base-notebook', 'latest'],
    ['nvcr.io/nvidia/pytorch', '24.06-py3'],
    ['registry.site.org/hpc/lammps', '2024'],
  ],
  small: [['docker.io/library/alpine', '3.20']],
};

/** registries.conf(5) of somebody for whom a local registry has all of these, and nothing else is anywhere. */
export function registriesConf({ host }: Registry): string {
  const mirror = (name: string, location: string): string =>
    `[[registry]]\nprefix = "${name}"\nlocation = "${host}/${location}"\ninsecure = true\n`;
  return [
    'unqualified-search-registries = ["docker.io"]\n',
    ...Object.entries(REMOTE).flatMap(([location, names]) => names.map(([name]) => mirror(name, location))),
    ...['docker.io', 'ghcr.io'].map((name) => mirror(name, 'none')),
  ].join('');
}

/**
 * Pushes two images under all their tags: a Debian whose apt-get finds one package, in the image itself, and one with a
 * shell and cat.
 *
 * @param small the root directory of the latter
 */
export async function fillRegistry(registry: Registry, small: string, directory: string): Promise<void> {
  const { tar } = await debianRootfs('minimal', []);
  const archive = join(directory, 'small.tar');
  await run('tar', ['--owner=0', '--group=0', '-C', small, '-cf', archive, '.']);
  const layers = {
    debian: [await readFile(tar), await makePackages(join(directory, 'hello'))],
    small: [await readFile(archive)],
  };
  for (const name of ['debian', 'small'] as const) {
    const [first = '', ...others] = new Set(REMOTE[name].map(([, tag]) => tag));
    const { manifest } = await registry.push(`${name}:${first}`, {
      layers: layers[name].map((content) => ({ content, compression: 'none' })),
      config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['bash'] },
    });
    for (const tag of others) await putManifest(`http://${registry.host}/v2/${name}/manifests/${tag}`, manifest);
  }
}

async function putManifest(url: string, { mediaType, bytes }: Document): Promise<void> {
  const answer = await fetch(url, { method: 'PUT', headers: { 'content-type': mediaType }, body: bytes });
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
}

/** The files of an image in which apt-get finds one package, that is called as GNU's and does the same. */
async function makePackages(directory: string): Promise<Record<string, string | Buffer>> {
  for (const name of ['DEBIAN', 'usr/bin']) await mkdir(join(directory, name), { recursive: true });
  const control = ['Package: hello', 'Version: 2.10', 'Architecture: all', 'Maintainer: nobody <nobody@invalid>'];
  const description = 'Description: says hello\n';
  await writeFile(join(directory, 'DEBIAN/control'), [...control, description].join('\n'));
  await writeFile(join(directory, 'usr/bin/hello'), '#!/bin/sh\necho "Hello, world!"\n', { mode: 0o755 });
  const archive = `${directory}.deb`;
  await run('dpkg-deb', ['--root-owner-group', '--build', directory, archive]);
  const content = await readFile(archive);
  const digest = createHash('sha256').update(content).digest('hex');
  const found = ['Filename: ./hello.deb', `Size: ${content.length}`, `SHA256: ${digest}`];
  return {
    'etc/apt/sources.list': 'deb [trusted=yes] file:/usr/share/packages ./\n',
    'usr/share/packages/hello.deb': content,
    'usr/share/packages/Packages': [...control, ...found, description].join('\n'),
  };
}

/** Makes a root directory with a shell and cat, and what they need. */
export async function makeSmallRoot(directory: string): Promise<void> {
  const script = `mkdir -p bin etc; cp /bin/dash bin/sh; cp /bin/cat bin/
    for library in $(ldd /bin/dash /bin/cat | grep -o '/lib[^ ]*' | sort -u); do
      mkdir -p ".$(dirname "$library")"; cp -L "$library" ".$library"
    done`;
  await mkdir(directory);
  await run('sh', ['-euc', script], { cwd: directory });
}

/** Makes a card, /card0 in the directory, and its CDI specification in /cdi, which brings a script as nvidia-smi. */
export async function makeCard(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const name of ['cdi', 'driver']) await mkdir(join(directory, name));
  // The machine's full device: opening it does nothing.
  await run('mknod', ['--mode=0666', join(directory, 'card0'), 'c', '1', '7']);
  const program = join(directory, 'driver/nvidia-smi');
  await writeFile(program, '#!/bin/sh\necho "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-0b4a…)"\n');
  await chmod(program, 0o755);
  const edits = {
    deviceNodes: [{ path: '/cards/0', hostPath: join(directory, 'card0') }],
    mounts: [{ hostPath: program, containerPath: '/usr/bin/nvidia-smi', options: ['ro'] }],
  };
  const specification = {
    cdiVersion: '0.6.0',
    kind: 'nvidia.com/gpu',
    devices: [{ name: '0', containerEdits: edits }],
  };
  await writeFile(join(directory, 'cdi/nvidia.json'), JSON.stringify(specification));
}
