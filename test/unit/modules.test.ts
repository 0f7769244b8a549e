// The site's modules: what their files may say, when one is used, and what it adds to a container.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Modules, type ModulesContribution, type ModulesRequest } from '../../src/modules/index.js';
import { v1 } from '../../src/protocol/index.js';

let base: string;
let directory: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'berth-modules-'));
  chmodSync(base, 0o755);
  directory = join(base, 'modules.d');
  mkdirSync(directory, { mode: 0o755 });
});
afterEach(() => rmSync(base, { recursive: true }));

const someone = { user: 'alice', uid: 2001, home: '/home/alice', jobId: 7, host: 'n1', pid: process.pid };

function write(name: string, text: string, mode = 0o644): string {
  const file = join(directory, `${name}.toml`);
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

function make(defaults: readonly string[] = []): Modules {
  return new Modules({ directory, default: defaults, cdiDirectories: [] });
}

function use(
  chosen: ModulesRequest['chosen'],
  { defaults = [], ...request }: Partial<ModulesRequest> & { defaults?: readonly string[] } = {},
): Promise<ModulesContribution> {
  return make(defaults).contribute({ ...someone, chosen, ...request });
}

/** What a module's file is told to have wrong. */
async function faultsOf(text: string): Promise<string> {
  write('m', text);
  try {
    await use(['m']);
  } catch (error) {
    return String(error).replace(`${directory}/`, '');
  }
  return 'none';
}

describe('a module file', () => {
  it.each([
    [
      'a key that there is not',
      'descripton = ""',
      'm.toml:1: the module has a key descripton: did you mean description?',
    ],
    ['what is not TOML', '\nrequires = [', 'm.toml:2: this is not TOML'],
    ['a word for automatic', 'automatic = "sometimes"', 'automatic is "sometimes": expected one of "never", "always"'],
    ['two conditions', 'automatic = { path = "/a", device = "/b" }', 'automatic has not one condition'],
    ['a relative path', '[[mounts]]\nsource = "lib"', 'm.toml:2: source is "lib": expected an absolute path'],
    ['a path with ..', '[[mounts]]\nsource = "/a/../b"', 'expected an absolute path without ".."'],
    [
      'no source',
      '[[mounts]]\nread_only = true',
      'm.toml:1: [[mounts]] has no source: expected source, an absolute path',
    ],
    [
      'a place that is not to be had',
      '[[mounts]]\nsource = "/a"\ndestination = "/proc/x"',
      'm.toml:3: destination is "/proc/x"',
    ],
    ['a place that its own path would be', '[[mounts]]\nsource = "/sys/x"', '/sys/x would be mounted at its own path'],
    ["Berth's own directory", '[[copies]]\nsource = "/a"\ndestination = "/.berth/x"', 'destination is "/.berth/x"'],
    ['a placeholder that there is not', '[[mounts]]\nsource = "/scratch/%x"', 'source is "/scratch/%x"'],
    ['a home within a path', '[[mounts]]\nsource = "/a/%h"', 'source is "/a/%h"'],
    ['a misspelt flag', '[[mounts]]\nsource = "/a"\nreadonly = true', 'a key readonly: did you mean read_only?'],
    ['a flag that is none', '[[mounts]]\nsource = "/a"\noptional = "yes"', 'optional is "yes": expected true or false'],
    [
      'a word for the propagation',
      '[[mounts]]\nsource = "/a"\npropagation = "shared"',
      'expected one of "slave", "private"',
    ],
    ["a variable of Slurm's", '[environment]\nset = { SLURM_JOB_ID = "1" }', 'm.toml:2: set has SLURM_JOB_ID'],
    ["a variable of PMI's", '[environment]\nunset = ["PMI_FD"]', 'unset is "PMI_FD"'],
    ['the devices of a rank', '[environment.set]\nCUDA_VISIBLE_DEVICES = "0"', 'set has CUDA_VISIBLE_DEVICES'],
    ['what is no variable', '[environment.prepend]\n"A-B" = "0"', 'prepend has A-B'],
    ['a variable in two ways', '[environment]\nset = { A = "1" }\nunset = ["A"]', 'A is in unset and in set'],
    [
      'a separator of two',
      '[environment]\nprepend.A = "1"\nseparators.A = "::"',
      'separators.A is "::": expected one character',
    ],
    ['a separator of nothing', '[environment]\nset.A = "1"\nseparators.A = ";"', 'A has a separator'],
    ['a control character', '[environment]\nset.A = "1\\n2"', 'set.A is "1\\n2"'],
    ['itself', 'requires = ["m"]', 'requires names the module itself'],
    ['one name twice', 'after = ["a", "a"]', 'after has "a" twice'],
    ['a name that is both', 'requires = ["a"]\nconflicts = ["a"]', 'a is among requires and conflicts'],
    ['an account that can be none', 'accounts = ["a:b"]', 'accounts is "a:b": expected the name of a user'],
    ['a name that is none', 'requires = ["none"]', 'requires is "none": expected the name of a module'],
    ['mandatory without a when', 'mandatory = true', 'the module is never used by itself'],
    ['a kind that is none', '[cdi]\nkind = "gpu"', 'kind is "gpu": expected VENDOR/CLASS'],
    ['no library', '[mpi]\ncheck = "version"', '[mpi] has no libraries'],
    ['a table for an array', '[mounts]\nsource = "/a"', 'mounts is a table: expected tables [[mounts]]'],
  ])('may not have %s', async (_, text, told) => {
    expect(await faultsOf(text)).toContain(told);
  });

  it('is told all that is wrong with it, in the order of its lines', async () => {
    const told = await faultsOf('[environment]\nset = 1\n[[mounts]]\nsource = 3\n[[mounts]]\nsource = "/a"\nro = 1');
    expect(told).toMatch(
      /BERTH_MODULE_FILE: m.toml:2: set is 1.*; also, line 4: source is 3.*; also, line 7: .*a key ro/,
    );
  });

  it('is refused when others could have written it, or its directory', async () => {
    const file = write('m', '', 0o666);
    await expect(use(['m'])).rejects.toMatchObject({
      code: 'BERTH_MODULE_UNSAFE',
      what: `the module file ${file} is not used`,
      why: `the mode 0666 of ${file} lets others than root write to it`,
    });
    chmodSync(file, 0o644);
    await expect(use(['m'])).resolves.toMatchObject({ names: ['m'] });
    chmodSync(directory, 0o777);
    await expect(use(['m'])).rejects.toMatchObject({
      code: 'BERTH_MODULE_UNSAFE',
      what: expect.stringContaining(directory) as string,
    });
  });

  it('may be a symbolic link to a file that nobody else could have written', async () => {
    mkdirSync(join(base, 'share'));
    writeFileSync(join(base, 'share/m.toml'), 'description = "linked"');
    symlinkSync(join(base, 'share/m.toml'), join(directory, 'm.toml'));
    await expect(use(['m'])).resolves.toMatchObject({ names: ['m'] });
    chmodSync(join(base, 'share'), 0o777);
    await expect(use(['m'])).rejects.toMatchObject({ code: 'BERTH_MODULE_UNSAFE' });
  });

  it('at fault keeps only those launches from starting that would use it', async () => {
    write('broken', 'mount = 1');
    write('ruined', 'automatic = "always"\nmount = 1');
    write('fine', '');
    await expect(use('none')).resolves.toMatchObject({ names: [] });
    await expect(use(['fine'])).rejects.toMatchObject({
      code: 'BERTH_MODULE_FILE',
      what: expect.stringContaining('ruined') as string,
    });
    rmSync(join(directory, 'ruined.toml'));
    await expect(use(['fine'])).resolves.toMatchObject({ names: ['fine'] });
    await expect(use(['broken'])).rejects.toMatchObject({ code: 'BERTH_MODULE_FILE' });
  });
});

describe('the directory', () => {
  it('need not be there', async () => {
    rmSync(directory, { recursive: true });
    await expect(use(undefined)).resolves.toEqual({
      names: [],
      accounts: { passwd: '', group: '' },
      mounts: [],
      files: [],
      environment: [],
      checks: [],
      hooks: [],
    });
    await expect(use(['gpu'])).rejects.toMatchObject({
      code: 'BERTH_MODULE_UNKNOWN',
      hint: expect.stringContaining('the site has no modules here') as string,
    });
  });

  it('is read anew when it or a file of it has changed, and not otherwise', async () => {
    const file = write('m', '[environment]\nset.A = "1"');
    utimesSync(file, 1, 1);
    const modules = make();
    const value = async (): Promise<unknown> => {
      const { environment } = await modules.contribute({ ...someone, chosen: ['m'] });
      return environment[0]?.message.value;
    };
    expect(await value()).toBe('1');
    const first = modules.catalogue();
    expect(modules.catalogue()).toBe(first);
    writeFileSync(file, '[environment]\nset.A = "2"');
    expect(await value()).toBe('2');
    write('other', '');
    expect([...modules.catalogue().entries.keys()]).toEqual(['m', 'other']);
    rmSync(file);
    await expect(value()).rejects.toMatchObject({ code: 'BERTH_MODULE_UNKNOWN' });
  });

  it('may have other files, which are no modules', async () => {
    writeFileSync(join(directory, 'README'), '');
    writeFileSync(join(directory, '.gpu.toml'), '=');
    expect([...make().catalogue().entries.keys()]).toEqual([]);
    await expect(use(undefined)).resolves.toMatchObject({ names: [] });
  });
});

describe('the modules of a container', () => {
  it('are those that the user names', async () => {
    write('a', '');
    write('b', '');
    await expect(use(['b'])).resolves.toMatchObject({ names: ['b'] });
  });

  it('are told from what there is not', async () => {
    write('mpich', '');
    await expect(use(['mpihc'])).rejects.toMatchObject({
      code: 'BERTH_MODULE_UNKNOWN',
      what: 'there is no module mpihc on n1',
      hint: 'did you mean mpich? there are mpich',
    });
  });

  it("are the site's too: by configuration, always, and where a condition holds", async () => {
    write('default', '');
    write('always', 'automatic = "always"');
    write('there', `automatic = { path = "${base}/*.d" }`);
    write('not-there', `automatic = { path = "${base}/nothing" }`);
    write('mine', '');
    await expect(use(['mine'], { defaults: ['default'] })).resolves.toMatchObject({
      names: ['always', 'there', 'default', 'mine'],
    });
  });

  it('are none when the user wants none, but for those that the site makes mandatory', async () => {
    write('always', 'automatic = "always"');
    write('law', 'automatic = "always"\nmandatory = true');
    write('default', '');
    await expect(use('none', { defaults: ['default'] })).resolves.toMatchObject({ names: ['law'] });
  });

  it('come after those that they require or name in after', async () => {
    write('a', 'after = ["z"]');
    write('b', 'requires = ["a"]');
    write('z', '');
    await expect(use(['b', 'a', 'z'])).resolves.toMatchObject({ names: ['z', 'a', 'b'] });
    await expect(use(['a'])).resolves.toMatchObject({ names: ['a'] });
    write('z', 'after = ["b"]');
    await expect(use(['b', 'a', 'z'])).rejects.toMatchObject({
      code: 'BERTH_MODULE_ORDER',
      why: expect.stringContaining('b, a, z, b') as string,
    });
  });

  it('have all that they require', async () => {
    write('a', 'requires = ["b"]');
    write('b', '');
    await expect(use(['a'])).rejects.toMatchObject({
      code: 'BERTH_MODULE_MISSING',
      what: 'the module a needs the module b, which is not used',
      hint: 'name both: --module=a,b',
    });
  });

  it('exclude each other where one of them says so', async () => {
    write('a', '');
    write('b', 'conflicts = ["a"]');
    await expect(use(['a', 'b'])).rejects.toMatchObject({
      code: 'BERTH_MODULE_CONFLICT',
      what: 'the modules b and a cannot be used together',
    });
  });

  it('do not have two things for one place', async () => {
    write('a', '[[mounts]]\nsource = "/usr"\ndestination = "/opt/x"');
    write('b', '[[mounts]]\nsource = "/etc"\ndestination = "/opt/x"');
    write('c', '[[mounts]]\nsource = "/usr"\ndestination = "/opt/x"');
    await expect(use(['a', 'b'])).rejects.toMatchObject({
      code: 'BERTH_MODULE_CONFLICT',
      why: 'both have something for /opt/x in the container',
    });
    const { mounts } = await use(['a', 'c']);
    expect(mounts).toHaveLength(1);
  });
});

describe('a module adds', () => {
  const { KIND_UNSET, KIND_SET, KIND_SET_IF_UNSET, KIND_PREPEND, KIND_APPEND } = v1.EnvironmentChange.Kind;

  it('mounts, at their own place or another, as it says', async () => {
    write(
      'm',
      '[[mounts]]\nsource = "/opt/site/"\n[[mounts]]\nsource = "/scratch/%u"\ndestination = "/s/%j"\nread_only = true\n' +
        'optional = true\nrecursive = false\npropagation = "private"\n[[mounts]]\nsource = "%h/.data"',
    );
    const { mounts } = await use(['m']);
    const plain = { kind: 0, readOnly: false, optional: false, shallow: false, propagation: 0 };
    expect(mounts).toEqual([
      { origin: 'module m', message: { ...plain, source: '/opt/site', destination: '/opt/site' } },
      {
        origin: 'module m',
        message: {
          source: '/scratch/alice',
          destination: '/s/7',
          kind: v1.BuildMount.Kind.KIND_BIND,
          readOnly: true,
          optional: true,
          shallow: true,
          propagation: v1.BuildMount.Propagation.PROPAGATION_PRIVATE,
        },
      },
      { origin: 'module m', message: { ...plain, source: '/home/alice/.data', destination: '/home/alice/.data' } },
    ]);
  });

  it("no mount that a user's name would lead elsewhere", async () => {
    write('m', '[[mounts]]\nsource = "/scratch/%u"');
    for (const user of ['..', 'a/b', ''])
      await expect(use(['m'], { user })).rejects.toMatchObject({ code: 'BERTH_MODULE_HOST' });
    await expect(use(['m'], { user: 'a*b' })).resolves.toMatchObject({
      mounts: [{ message: { source: '/scratch/a*b' } }],
    });
  });

  it('what a pattern matches, in order, and fails where there is nothing that has to be there', async () => {
    for (const name of ['libx.so.2', 'libx.so.10', 'libx.so', '.libx.so.3', 'liby.so.1'])
      writeFileSync(join(base, name), '');
    write('m', `[[mounts]]\nsource = "${base}/libx.so*"\ndestination = "/opt/lib"`);
    const { mounts } = await use(['m']);
    expect(mounts.map(({ message }) => message.destination)).toEqual([
      '/opt/lib/libx.so',
      '/opt/lib/libx.so.10',
      '/opt/lib/libx.so.2',
    ]);
    write('m', `[[mounts]]\nsource = "${base}/li[b-c][!x].so.?"`);
    await expect(use(['m'])).resolves.toMatchObject({
      mounts: [{ message: { destination: join(base, 'liby.so.1') } }],
    });
    write('m', `[[mounts]]\nsource = "${base}/libz*"`);
    await expect(use(['m'])).rejects.toMatchObject({
      code: 'BERTH_MODULE_HOST',
      what: 'the module m cannot be used on n1',
      why: `nothing matches ${base}/libz*`,
    });
    write('m', `[[mounts]]\nsource = "${base}/libz*"\noptional = true`);
    await expect(use(['m'])).resolves.toMatchObject({ mounts: [] });
  });

  it('copies of files that are for everybody to read', async () => {
    const file = join(base, 'driver.conf');
    writeFileSync(file, 'fast\n', { mode: 0o644 });
    write('m', `[[copies]]\nsource = "${file}"\ndestination = "/etc/driver.conf"`);
    const { files } = await use(['m']);
    expect(files).toEqual([
      { origin: 'module m', message: { path: '/etc/driver.conf', content: Buffer.from('fast\n'), replace: true } },
    ]);
  });

  it('no copy of what others could have written, not everybody may read, or is something else', async () => {
    const file = join(base, 'driver.conf');
    writeFileSync(file, 'fast\n');
    write('m', `[[copies]]\nsource = "${file}"`);
    const why = async (): Promise<string> => use(['m']).then(String, (error: unknown) => String(error));
    chmodSync(file, 0o666);
    expect(await why()).toContain('others than root may write to it');
    chmodSync(file, 0o640);
    expect(await why()).toContain('not everybody may read it');
    rmSync(file);
    expect(await why()).toContain('no such file');
    symlinkSync('/etc/passwd', file);
    expect(await why()).toContain('it is a symbolic link: name what it leads to');
    rmSync(file);
    mkdirSync(file);
    expect(await why()).toContain('it is not a regular file');
    rmSync(file, { recursive: true });
    write('m', `[[copies]]\nsource = "${file}"\noptional = true`);
    await expect(use(['m'])).resolves.toMatchObject({ files: [] });
  });

  it('no copy from where a link leads that not everybody may enter, or that others could change', async () => {
    const directory = join(base, 'private');
    mkdirSync(directory, { mode: 0o700 });
    writeFileSync(join(directory, 'driver.conf'), 'secret\n', { mode: 0o644 });
    symlinkSync(directory, join(base, 'alice'));
    write('m', `[[copies]]\nsource = "${base}/%u/driver.conf"`);
    await expect(use(['m'])).rejects.toMatchObject({
      why: `${base}/alice/driver.conf cannot be copied: not everybody may enter ${directory}`,
    });
    chmodSync(directory, 0o777);
    await expect(use(['m'])).rejects.toMatchObject({
      why: expect.stringContaining(`the mode 0777 of ${directory}`) as string,
    });
    chmodSync(directory, 0o755);
    await expect(use(['m'])).resolves.toMatchObject({ files: [{ message: { content: Buffer.from('secret\n') } }] });
  });

  it('changes of the environment, of which the last stand first', async () => {
    write(
      'm',
      '[environment]\nprepend.LD_LIBRARY_PATH = "/opt/lib"\nappend.OPTIONS = "-x"\nset.HOST = "%u 100%%"\n' +
        'set_if_unset.LEVEL = "1"\nunset = ["OLD"]\nseparators.OPTIONS = " "',
    );
    const { environment } = await use(['m']);
    expect(environment.map(({ message }) => message)).toEqual([
      { kind: KIND_UNSET, name: 'OLD', value: '', separator: '' },
      { kind: KIND_SET, name: 'HOST', value: 'alice 100%', separator: '' },
      { kind: KIND_SET_IF_UNSET, name: 'LEVEL', value: '1', separator: '' },
      { kind: KIND_PREPEND, name: 'LD_LIBRARY_PATH', value: '/opt/lib', separator: ':' },
      { kind: KIND_APPEND, name: 'OPTIONS', value: '-x', separator: ' ' },
    ]);
    expect(new Set(environment.map(({ origin }) => origin))).toEqual(new Set(['module m']));
  });
});
