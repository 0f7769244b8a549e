// Devices through CDI: what a specification may say, which one counts, and what its hooks come down to.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { understandHooks } from '../../src/modules/cdi/hooks.js';
import { CdiRegistry } from '../../src/modules/cdi/registry.js';
import { readSpecification, type CdiHook } from '../../src/modules/cdi/specification.js';

/** As the specification's own examples have them. */
const WHOLE = `
cdiVersion: "0.6.0"
kind: "vendor.com/device"
devices:
  - name: "0"
    containerEdits:
      deviceNodes:
        - path: "/dev/card0"
          type: c
          major: 1
          minor: 3
          fileMode: 438
          permissions: rw
        - path: "/dev/renamed0"
          hostPath: "/dev/card0"
      additionalGids: [44]
containerEdits:
  env:
    - "VENDOR=1=2"
  mounts:
    - hostPath: "/usr/lib/libvendor.so.550"
      containerPath: "/usr/lib/vendor/libvendor.so.550"
      options: [ro, nosuid, nodev, bind]
    - { hostPath: /run/vendor, containerPath: /run/vendor, options: [rbind, rw] }
  hooks:
    - hookName: createContainer
      path: /usr/bin/vendor-hook
      args: [vendor-hook, prepare]
      env: [DEBUG=1]
      timeout: 5
  intelRdt: { closID: x }
`;

async function faultOf(text: string, file = 'x.yaml'): Promise<string> {
  try {
    await readSpecification(file, text);
    return 'none';
  } catch (error) {
    return error instanceof Error ? error.message : '';
  }
}

describe('a specification', () => {
  it('says what each device needs, and what all of them need', async () => {
    expect(await readSpecification('x.yaml', WHOLE)).toEqual({
      file: 'x.yaml',
      kind: 'vendor.com/device',
      devices: [
        {
          name: '0',
          edits: {
            variables: [],
            deviceNodes: [
              { path: '/dev/card0', hostPath: '/dev/card0' },
              { path: '/dev/renamed0', hostPath: '/dev/card0' },
            ],
            mounts: [],
            hooks: [],
          },
        },
      ],
      edits: {
        variables: [{ name: 'VENDOR', value: '1=2' }],
        deviceNodes: [],
        mounts: [
          {
            hostPath: '/usr/lib/libvendor.so.550',
            containerPath: '/usr/lib/vendor/libvendor.so.550',
            readOnly: true,
            recursive: false,
          },
          { hostPath: '/run/vendor', containerPath: '/run/vendor', readOnly: false, recursive: true },
        ],
        hooks: [
          {
            name: 'createContainer',
            path: '/usr/bin/vendor-hook',
            args: ['vendor-hook', 'prepare'],
            env: ['DEBUG=1'],
            timeout: 5,
          },
        ],
      },
      notes: [
        "additionalGIDs is left out: a container has its user's groups, and no more rights than these",
        "intelRdt is left out: Slurm divides the processors' caches",
      ],
    });
  });

  it('may be JSON', async () => {
    const text = '{"cdiVersion":"1.0.0","kind":"a.b/c","devices":[{"name":"x","containerEdits":{}}]}';
    expect(await readSpecification('x.json', text)).toMatchObject({ kind: 'a.b/c', devices: [{ name: 'x' }] });
  });

  it.each(['0.3.0', '0.4.0', '0.5.0', '0.7.0', '0.8.0', '1.0.0', '1.1.0'])('may be of version %s', async (version) => {
    expect(await faultOf(WHOLE.replace('0.6.0', version))).toBe('none');
  });

  const device = (edits: string): string =>
    `cdiVersion: 0.6.0\nkind: a.b/c\ndevices: [{ name: x, containerEdits: ${edits} }]`;

  it.each([
    ['of a version of another form', WHOLE.replace('0.6.0', '2.0.0'), 'cdiVersion is 2.0.0, which is none from 0.3.0'],
    ['without a vendor', WHOLE.replace('vendor.com/device', 'gpu'), 'kind is "gpu", not VENDOR/CLASS'],
    ['without devices', 'cdiVersion: 0.6.0\nkind: a.b/c\ndevices: []', 'it describes no device'],
    ['that is no YAML', 'a: [', 'it is no YAML: '],
    ['that is a list', '- a', 'the file is ["a"], not an object'],
    [
      'with a device twice',
      'cdiVersion: 0.6.0\nkind: a.b/c\ndevices: [{name: x, containerEdits: {}}, {name: x, containerEdits: {}}]',
      'it describes the device x twice',
    ],
    [
      'with a name that is none',
      'cdiVersion: 0.6.0\nkind: a.b/c\ndevices: [{name: "a b", containerEdits: {}}]',
      'devices[0].name is "a b"',
    ],
    [
      'with a number for a name',
      'cdiVersion: 0.6.0\nkind: a.b/c\ndevices: [{name: 0, containerEdits: {}}]',
      'devices[0].name is 0, not a string',
    ],
    ['with a variable that is none', device('{ env: [A] }'), 'env[0] is "A", not NAME=VALUE'],
    [
      'with a relative path',
      device('{ mounts: [{hostPath: a, containerPath: /a}] }'),
      'hostPath is "a", not an absolute path',
    ],
    ['with ..', device('{ mounts: [{hostPath: /a/../b, containerPath: /a}] }'), 'hostPath is "/a/../b"'],
    [
      'that mounts over /proc',
      device('{ mounts: [{hostPath: /a, containerPath: /proc/x}] }'),
      'a container sets up itself',
    ],
    [
      'with a mount of another type',
      device('{ mounts: [{hostPath: /a, containerPath: /a, type: tmpfs}] }'),
      'type is "tmpfs", not bind',
    ],
    [
      'with a hook of another name',
      device('{ hooks: [{hookName: x, path: /a}] }'),
      'hookName is "x", not one of prestart',
    ],
    [
      'with a hook that waits for ever',
      device('{ hooks: [{hookName: prestart, path: /a, timeout: 0}] }'),
      'timeout is 0',
    ],
  ])('%s is refused', async (_, text, told) => {
    expect(await faultOf(text)).toContain(told);
  });

  it('that expands to more than there is memory is refused', async () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join(', ')}]`,
    );
    expect(await faultOf(`a0: &a0 [x]\n${levels.join('\n')}\n`)).toContain('it is no YAML: Excessive alias count');
  });
});

describe('the directories of specifications', () => {
  let base: string;
  let registry: CdiRegistry;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'berth-cdi-'));
    mkdirSync(join(base, 'etc'));
    mkdirSync(join(base, 'run'));
    registry = new CdiRegistry([join(base, 'etc'), join(base, 'run'), join(base, 'missing')]);
  });
  afterEach(() => rmSync(base, { recursive: true }));

  function write(name: string, variable: string, kind = 'a.b/c'): void {
    const edits = `{ env: ["${variable}"] }`;
    writeFileSync(
      join(base, name),
      `cdiVersion: 0.6.0\nkind: ${kind}\ndevices: [{ name: x, containerEdits: ${edits} }]`,
      {
        mode: 0o644,
      },
    );
  }

  async function valueOf(): Promise<string | undefined> {
    return (await registry.current()).kinds.get('a.b/c')?.get('x')?.edits.variables[0]?.value;
  }

  it('describe a device once: the later directory counts', async () => {
    write('etc/a.yaml', 'A=etc');
    expect(await valueOf()).toBe('etc');
    write('run/a.yaml', 'A=run');
    expect(await valueOf()).toBe('run');
    rmSync(join(base, 'run/a.yaml'));
    expect(await valueOf()).toBe('etc');
    expect(await registry.current()).toBe(await registry.current());
  });

  it('may not describe a device twice in one directory', async () => {
    write('etc/a.yaml', 'A=1');
    write('etc/b.yaml', 'A=2');
    expect((await registry.current()).faults).toMatchObject([
      {
        kind: 'a.b/c',
        error: { code: 'BERTH_CDI_SPECIFICATION', why: `it describes a.b/c=x, and so does ${base}/etc/a.yaml` },
      },
    ]);
  });

  it('may hold files of other kinds, and one that is broken, which are told', async () => {
    write('etc/a.yaml', 'A=1');
    write('etc/b.json', 'A=1', 'a.b/d');
    write('etc/README.md', '');
    expect([...(await registry.current()).kinds.keys()]).toEqual(['a.b/c']);
    expect((await registry.current()).faults).toMatchObject([{ file: join(base, 'etc/b.json'), kind: undefined }]);
  });

  it('and their files have to be such that nobody else could have written them', async () => {
    write('etc/a.yaml', 'A=1');
    chmodSync(join(base, 'etc/a.yaml'), 0o666);
    expect(await valueOf()).toBeUndefined();
    expect((await registry.current()).faults).toMatchObject([
      { error: { why: expect.stringContaining('mode 0666') as string } },
    ]);
  });
});

describe('hooks', () => {
  const hook = (path: string, args: readonly string[], name: CdiHook['name'] = 'createContainer'): CdiHook => ({
    name,
    path,
    args,
    env: [],
    timeout: undefined,
  });
  const nothing = { links: [], libraryDirectories: [], programs: [], notes: [] };

  it.each([
    ['/usr/bin/nvidia-ctk', ['nvidia-ctk', 'hook']],
    ['/usr/bin/nvidia-cdi-hook', ['nvidia-cdi-hook']],
  ])('of %s are understood, and done without running it', (path, words) => {
    const links = ['create-symlinks', '--link', 'libcuda.so.1::/usr/lib64/libcuda.so', '--link=../a::/usr/lib64/b'];
    expect(understandHooks([hook(path, [...words, ...links])])).toEqual({
      ...nothing,
      links: [
        { path: '/usr/lib64/libcuda.so', target: 'libcuda.so.1' },
        { path: '/usr/lib64/b', target: '../a' },
      ],
    });
    const cache = ['update-ldcache', '--folder', '/usr/lib64', '--folder', '/usr/lib'];
    expect(understandHooks([hook(path, [...words, ...cache])])).toEqual({
      ...nothing,
      libraryDirectories: ['/usr/lib64', '/usr/lib'],
    });
    expect(understandHooks([hook(path, [...words, 'chmod', '--mode', '755', '--path', '/dev/dri'])])).toEqual(nothing);
    expect(understandHooks([hook(path, [...words, 'enable-cuda-compat'])]).notes).toEqual([
      'the hook enable-cuda-compat is left out',
    ]);
  });

  it('that link to places that are not paths are left out', () => {
    const args = ['nvidia-ctk', 'hook', 'create-symlinks', '--link', 'a::b', '--link', 'a', '--link', 'a::/b/../c'];
    expect(understandHooks([hook('/usr/bin/nvidia-ctk', args)])).toEqual(nothing);
  });

  it('of other programs, and new ones of theirs, have to be run', () => {
    const others = [
      hook('/opt/vendor/prepare', ['prepare', 'create-symlinks', '--link', 'a::/b']),
      hook('/usr/bin/nvidia-ctk', ['nvidia-ctk', 'hook', 'something-new']),
    ];
    expect(understandHooks(others)).toEqual({ ...nothing, programs: others });
  });

  it('that would run after the program has started are not', () => {
    expect(understandHooks([hook('/opt/vendor/stop', ['stop'], 'poststop')])).toEqual({
      ...nothing,
      notes: ['/opt/vendor/stop is left out: Berth runs no poststop hooks'],
    });
  });
});
