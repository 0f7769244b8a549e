// Devices through CDI in a container: a made-up specification of two devices, of which the job was given one.
import { chmodSync, chownSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LibraryRoot } from '../images/libraries.js';
import { parseConfig } from '../../src/config/index.js';
import { Registry, type Container } from '../../src/container/index.js';
import { ImageStore } from '../../src/image/index.js';
import { Designer, Launcher } from '../../src/launch/index.js';
import { Modules } from '../../src/modules/index.js';
import { NOTHING_ASKED_FOR } from '../../src/options/index.js';
import { Caller } from './helpers/caller.js';
import { AS_RANK, enterContainer } from './helpers/container.js';
import { cgroupOfVersion1, makeDevice, NULL, ZERO, type DeviceCgroup } from './helpers/device-cgroup.js';
import { file, makeArchive, toolbox } from './helpers/images.js';
import { leavesNothing } from './helpers/lifecycle.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

const nobody = { uid: 65_534, gid: 65_534, gids: [65_534] } as const;

let scratch: string;
let store: ImageStore;
let registry: Registry;
let caller: Caller;
let cgroup: DeviceCgroup;
let library: string;

/** A path on the host, below the test's directory. */
const at = (...names: readonly string[]): string => join(scratch, ...names);

beforeAll(async () => {
  scratch = makeScratch();
  store = await ImageStore.open({ path: at('store'), compressionLevel: 1 });
  const archive = makeArchive(scratch, { toolbox: toolbox(), 'etc/passwd': file('root:x:0:0:::\n') });
  const request = { name: 'app', owner: 'site', source: 'a test', complete: Promise.resolve() } as const;
  await store.importTar(request, openSync(archive, 'r'));
  registry = new Registry(at('containers'));
  for (const name of ['dev', 'driver', 'cdi', 'modules.d', 'run', 'workspace']) mkdirSync(at(name), { mode: 0o755 });
  makeDevice(at('dev/card0'), NULL);
  makeDevice(at('dev/card1'), ZERO);
  for (const card of ['0', '1']) writeFileSync(at('driver', `settings${card}`), `card ${card}\n`, { mode: 0o644 });
  const libraries = new LibraryRoot(scratch);
  library = libraries.add('libvendor.so.550.54', { soname: 'libvendor.so.1' });
  writeFileSync(at('modules.d/card.toml'), '[cdi]\nkind = "vendor.com/card"\n', { mode: 0o644 });
  caller = await Caller.connect(scratch);
});

afterAll(async () => {
  await caller.close();
  removeScratch(scratch);
});

leavesNothing(() => scratch);

beforeEach(() => {
  mkdirSync(at('out'));
  chownSync(at('out'), nobody.uid, nobody.gid);
  cgroup = cgroupOfVersion1([NULL]);
  cgroup.take(caller.pid);
});

afterEach(() => {
  for (const container of registry.all()) registry.end(container);
  cgroup.remove();
  rmSync(at('out'), { recursive: true });
  rmSync(at('cdi/vendor.json'));
});

interface HookWords {
  readonly path: string;
  readonly args?: readonly string[];
  readonly env?: readonly string[];
  readonly timeout?: number;
}

function describeCards(hooks: readonly HookWords[] = []): void {
  const card = (name: string): unknown => ({
    deviceNodes: [{ path: `/vendor/card${name}`, hostPath: at('dev', `card${name}`) }],
    mounts: [{ hostPath: at('driver', `settings${name}`), containerPath: `/vendor/settings${name}`, options: ['ro'] }],
    env: [`CARD=${name}`],
  });
  const nvidia = (...args: readonly string[]): unknown => ({
    hookName: 'createContainer',
    path: '/usr/bin/nvidia-ctk',
    args: ['nvidia-ctk', 'hook', ...args],
  });
  const specification = {
    cdiVersion: '0.6.0',
    kind: 'vendor.com/card',
    devices: [
      { name: '0', containerEdits: card('0') },
      { name: '1', containerEdits: card('1') },
      { name: 'GPU-of-1', containerEdits: card('1') },
      { name: 'all', containerEdits: { deviceNodes: ['0', '1'].map((name) => ({ path: at('dev', `card${name}`) })) } },
    ],
    containerEdits: {
      env: ['VENDOR=yes', 'CUDA_VISIBLE_DEVICES=all'],
      mounts: [{ hostPath: library, containerPath: '/vendor/lib/libvendor.so.550.54', options: ['ro', 'bind'] }],
      hooks: [
        nvidia('create-symlinks', '--link', 'libvendor.so.1::/vendor/lib/libvendor.so'),
        nvidia('update-ldcache', '--folder', '/vendor/lib'),
        ...hooks.map((hook) => ({ hookName: 'createContainer', ...hook })),
      ],
    },
  };
  writeFileSync(at('cdi/vendor.json'), JSON.stringify(specification), { mode: 0o644 });
}

async function launch(userns: string): Promise<Container> {
  const text = `[daemon]\nruntime_directory = "${at('run')}"\n[container]\nuserns = "${userns}"\n[modules]\ndirectory = "${at('modules.d')}"\ncdi_directories = ["${at('cdi')}"]\n`;
  const { config, problems } = parseConfig(text, 'test');
  expect(problems).toEqual([]);
  const launcher = new Launcher(
    config,
    store,
    registry,
    new Designer(config, new Modules(config.modules), at('workspace')),
  );
  const { options } = NOTHING_ASKED_FOR;
  const asked = { ...NOTHING_ASKED_FOR, options: { ...options, modules: ['card'] } };
  const order = { jobId: 7, stepId: 0, ...nobody, ...asked, image: 'app', nodeName: 'n1', spoolDir: '' };
  return (await launcher.launch(order, caller)).container;
}

const ask = (container: Container, question: string, ...paths: readonly string[]): Promise<string> =>
  enterContainer(container, container.namespaces, AS_RANK, '/toolbox', question, ...paths);

/** A program of the site's, as which a hook runs. */
function writeHook(script: string): HookWords {
  const path = at('out', 'hook');
  writeFileSync(path, `#!/bin/sh\nset -eu\n${script}\n`);
  chmodSync(path, 0o755);
  return { path, args: ['hook', 'first', 'second'], env: ['COLOUR=green'] };
}

describe.each(['on', 'off'])('with userns = %s', (userns) => {
  it("a container has those devices that the job's cgroup lets it use, and what they need", async () => {
    describeCards();
    const container = await launch(userns);
    expect(await ask(container, 'list', '/vendor')).not.toContain('settings0');
    expect(await ask(container, 'read', '/vendor/settings1')).toBe('card 1');
    expect(await ask(container, 'open', '/vendor/card1')).toBe('opened');
    for (const name of ['libvendor.so.550.54', 'libvendor.so.1', 'libvendor.so'])
      expect(await ask(container, 'read', `/vendor/lib/${name}`)).toMatch(/^\x7fELF/);
    const changes = container.interior?.environment
      .filter(({ origin }) => origin !== 'berth')
      .map(({ origin, message }) => [origin, message.name, message.value]);
    expect(changes).toEqual([
      ['module card', 'VENDOR', 'yes'],
      ['module card', 'CARD', '1'],
      ['module card', 'LD_LIBRARY_PATH', '/vendor/lib'],
    ]);
  });

  it("a hook of the vendor's runs with the user's rights, and sees the container", async () => {
    const hook = writeHook(
      `cat > ${at('out')}/state\n{ id -u; id -G; echo "$*" "$COLOUR"; grep -E "^(CapEff|CapBnd|NoNewPrivs)" /proc/self/status; ` +
        `cat /proc/self/fd/3/vendor/settings1 /proc/self/fd/3/etc/passwd; } > ${at('out')}/told`,
    );
    describeCards([hook]);
    await launch(userns);
    const told = readFileSync(at('out/told'), 'utf8').split('\n');
    expect(told.slice(0, 3)).toEqual(['65534', '65534', 'first second green']);
    expect(told.slice(3, 6)).toEqual([
      expect.stringMatching(/^CapEff:\t0+$/),
      expect.stringMatching(/^CapBnd:\t0+$/),
      'NoNewPrivs:\t1',
    ]);
    expect(told[6]).toBe('card 1');
    expect(told.slice(7).join('\n')).toContain('root:x:0:0:::');
    const state = JSON.parse(readFileSync(at('out/state'), 'utf8')) as Record<string, unknown>;
    expect(state).toMatchObject({ ociVersion: '1.0.2', status: 'creating' });
    expect(basename(String(state['bundle']))).toBe(state['id']);
    expect(readdirSync(at('run/hooks'))).toEqual([]);
  });

  it('nothing is started when a hook fails, and the user is told its last words', async () => {
    describeCards([writeHook('echo starting >&2; echo "the card is locked" >&2; exit 3')]);
    await expect(launch(userns)).rejects.toMatchObject({
      code: 'BERTH_HOOK_FAILED',
      what: `${at('out/hook')}, which a device specification asks for, failed on n1`,
      why: 'the card is locked',
    });
    expect(registry.all()).toEqual([]);
    expect(readdirSync(at('run/hooks'))).toEqual([]);
  });

  it('nothing waits longer for a hook than it may take', async () => {
    describeCards([{ ...writeHook('sleep 1000'), timeout: 0.5 }]);
    await expect(launch(userns)).rejects.toMatchObject({
      code: 'BERTH_HOOK_FAILED',
      why: 'it did not end within 0.5 s',
    });
  });

  it('nothing is started for a job that was given none of the devices', async () => {
    describeCards();
    cgroup.remove();
    cgroup = cgroupOfVersion1([NULL, ZERO]);
    cgroup.take(caller.pid);
    await expect(launch(userns)).rejects.toMatchObject({
      code: 'BERTH_MODULE_HOST',
      what: 'the module card cannot be used on n1',
      why: 'the job was given no vendor.com/card of this node',
    });
  });
});
