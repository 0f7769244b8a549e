import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  allKeys,
  checkConfig,
  ConfigError,
  configurationPage,
  defaultConfiguration,
  DEFAULT_CONFIG_PATH,
  loadConfig,
  nearest,
  parseConfig,
  parseMount,
} from '../../src/config/index.js';

const FILE = 'berth.toml';

/** The problems of a text, as the user sees them. */
function problemsOf(text: string): string[] {
  return parseConfig(text, FILE).problems.map(({ what, why }) => `${what} | ${why}`);
}

describe('a configuration', () => {
  it('has every default when it is empty', () => {
    const { config, origins, problems } = parseConfig('', FILE);
    expect(problems).toEqual([]);
    expect(config).toEqual({
      daemon: { runtimeDirectory: '/run/berth', logLevel: 'info' },
      store: {
        path: '/var/lib/berth',
        import: 'root',
        pull: 'anyone',
        pullAtLaunch: true,
        pullTimeout: 3600,
        files: 'rebuild',
        largestImage: 100,
        mostEntries: 4_000_000,
        layerCache: 51_200,
        promiseDays: 30,
        compressionLevel: 6,
      },
      container: {
        userns: 'on',
        home: true,
        mounts: [],
        environment: [],
        run: 'anyone',
        shifter: true,
        remapRoot: false,
        writable: false,
        entrypoint: false,
        passwd: '',
        group: '',
        writableSize: 1024,
        writableLimit: 65_536,
        saveTimeout: 1800,
        buildTimeout: 30,
      },
      volumes: {
        allowedSources: [],
        deniedSources: [],
        deniedDestinations: [],
        tmpfsSize: 1024,
        tmpfsLimit: 65_536,
        cacheLimit: 102_400,
        cacheFilesystems: ['beegfs', 'btrfs', 'ext4', 'f2fs', 'gpfs', 'lustre', 'xfs', 'zfs'],
      },
      modules: { directory: '/etc/berth/modules.d', default: [], cdiDirectories: ['/etc/cdi', '/var/run/cdi'] },
      slurm: { spoolDir: '', prepare: false },
      health: {
        drain: false,
        drainAfter: 2,
        resumeAfter: 3,
        skip: [],
        mounts: [],
        links: [],
        free: 5,
        verify: 4,
        canary: true,
        kernelLogHours: 24,
        siteChecks: '/etc/berth/health.d',
      },
      events: { listen: '', tokenFile: '', tlsCert: '', tlsKey: '', names: [], nodes: [], origins: [] },
    });
    expect([...origins.values()]).toEqual(allKeys.map(() => 'default'));
  });

  it('takes its values from tables, dotted keys and inline tables alike, and knows their lines', () => {
    const text = [
      'store.path = "/images"',
      'slurm = { spool_dir = "/var/spool/slurmd/", prepare = true }',
      '[daemon]',
      'log_level = "debug" # while we look for something',
      '[container]',
      'mounts = ["/scratch", "/opt/site:/opt:ro",',
      '          "//data//sets/:/data"]',
    ].join('\n');
    const { config, origins, problems } = parseConfig(text, FILE);
    expect(problems).toEqual([]);
    expect(config.store.path).toBe('/images');
    expect(config.slurm).toEqual({ spoolDir: '/var/spool/slurmd', prepare: true });
    expect(config.daemon.logLevel).toBe('debug');
    expect(config.container.mounts).toEqual([
      { source: '/scratch', destination: '/scratch', readOnly: false },
      { source: '/opt/site', destination: '/opt', readOnly: true },
      { source: '/data/sets', destination: '/data', readOnly: false },
    ]);
    const lines = ['[store] path', '[slurm] prepare', '[daemon] log_level', '[container] mounts'].map((key) =>
      origins.get(key),
    );
    expect(lines).toEqual([1, 2, 4, 6].map((line) => ({ file: FILE, line })));
    expect(origins.get('[store] import')).toBe('default');
  });
});

describe('a problem names the file, the line, what was found and what was expected', () => {
  const cases: [string, string, string][] = [
    [
      'a text that is not TOML',
      '[store]\npath == "/x"',
      'berth.toml:2: this is not TOML | Unexpected token (column 7)',
    ],
    [
      'a key given twice',
      '[store]\npath = "/x"\npath = "/y"',
      'berth.toml:3: this is not TOML | Defining a key multiple times is invalid (column 1)',
    ],
    [
      'an unknown key, with the nearest',
      '[store]\n\ncompression_levle = 4',
      'berth.toml:3: [store] has no key compression_levle | did you mean compression_level? expected one of path, import, pull, pull_at_launch, pull_timeout, files, largest_image, most_entries, layer_cache, promise_days, compression_level',
    ],
    [
      'a key of another table',
      '[store]\nlog_level = "info"',
      'berth.toml:2: [store] has no key log_level | did you mean [daemon] log_level? expected one of path, import, pull, pull_at_launch, pull_timeout, files, largest_image, most_entries, layer_cache, promise_days, compression_level',
    ],
    [
      'an unknown key like no other',
      '[daemon]\nfrobnicate = 1',
      'berth.toml:2: [daemon] has no key frobnicate | expected one of runtime_directory, log_level',
    ],
    [
      'a key under a key',
      '[store]\npath.x = "/x"',
      'berth.toml:2: [store] has no key path.x | did you mean path? expected one of path, import, pull, pull_at_launch, pull_timeout, files, largest_image, most_entries, layer_cache, promise_days, compression_level',
    ],
    [
      'an unknown table, with the nearest',
      '[contaner]\nhome = 1',
      'berth.toml:1: unknown table [contaner] | did you mean [container]? expected one of [daemon], [store], [container], [volumes], [modules], [slurm], [health], [events]',
    ],
    [
      'a table below a table',
      '[store.path]',
      'berth.toml:1: unknown table [store.path] | expected one of [daemon], [store], [container], [volumes], [modules], [slurm], [health], [events]',
    ],
    [
      'an array of tables',
      '\n[[store]]',
      'berth.toml:2: [[store]] is an array of tables | expected one of the tables [daemon], [store], [container], [volumes], [modules], [slurm], [health], [events]',
    ],
    [
      'a key outside of tables',
      'log_level = "info"',
      'berth.toml:1: the key log_level stands outside of a table | did you mean [daemon] log_level? expected it under one of [daemon], [store], [container], [volumes], [modules], [slurm], [health], [events]',
    ],
    ['a value for a table', 'store = "/images"', 'berth.toml:1: store is "/images" | expected a table, [store]'],
    ['a wrong type', '[container]\nhome = "yes"', 'berth.toml:2: [container] home is "yes" | expected true or false'],
    [
      'a number out of bounds',
      '[store]\ncompression_level = 23',
      'berth.toml:2: [store] compression_level is 23 | expected a whole number from 1 to 22',
    ],
    [
      'a number too large for any integer',
      '[container]\nbuild_timeout = 9223372036854775807',
      'berth.toml:2: [container] build_timeout is 9223372036854775807 | expected a whole number from 1 to 3600',
    ],
    [
      'a fraction',
      '[container]\nbuild_timeout = 1.5',
      'berth.toml:2: [container] build_timeout is 1.5 | expected a whole number from 1 to 3600',
    ],
    [
      'none of the choices',
      '[container]\nuserns = true',
      'berth.toml:2: [container] userns is true | expected one of "on", "off"',
    ],
    [
      'a relative path',
      '[store]\npath = "images"',
      'berth.toml:2: [store] path is "images" | expected an absolute path',
    ],
    [
      'a path with ".."',
      '[store]\npath = "/a/../b"',
      'berth.toml:2: [store] path is "/a/../b" | expected an absolute path, without ".."',
    ],
    ['an empty path', '[store]\npath = ""', 'berth.toml:2: [store] path is "" | expected an absolute path'],
    [
      'mounts that are no array',
      '[container]\nmounts = "/a"',
      'berth.toml:2: [container] mounts is "/a" | expected an array of strings "SOURCE[:DESTINATION][:ro]"',
    ],
    [
      'a mount in an array of several lines',
      '[container]\nmounts = [\n"/a",\n"b",\n]',
      'berth.toml:4: [container] mounts has "b" | expected SOURCE[:DESTINATION][:ro] with absolute paths',
    ],
    [
      'a mount that is no string',
      '[container]\nmounts = [1]',
      'berth.toml:2: [container] mounts has 1 | expected an array of strings "SOURCE[:DESTINATION][:ro]"',
    ],
    [
      'two mounts at one place',
      '[container]\nmounts = ["/a:/c",\n"/b:/c/"]',
      'berth.toml:3: [container] mounts has "/b:/c/" | expected one mount at /c, not two',
    ],
    [
      'prepare without the spool directory',
      '[slurm]\nprepare = true',
      "berth.toml:2: [slurm] prepare is true without [slurm] spool_dir | expected spool_dir to be the node's SlurmdSpoolDir: a prepared container must already hold it when the first step starts",
    ],
  ];
  it.each(cases)('%s', (_, text, problem) => {
    expect(problemsOf(text)).toEqual([problem]);
  });

  it('all of them at once, in the order of the lines', () => {
    const text = '[slurm]\nprepare = 1\n[store]\npath = 2\n[nowhere]\nx = 3\n[container]\nmounts = [1,\n"b"]';
    expect(problemsOf(text).map((problem) => problem.split(' | ')[0])).toEqual([
      'berth.toml:2: [slurm] prepare is 1',
      'berth.toml:4: [store] path is 2',
      'berth.toml:5: unknown table [nowhere]',
      'berth.toml:8: [container] mounts has 1',
      'berth.toml:9: [container] mounts has "b"',
    ]);
  });
});

describe('a mount', () => {
  it.each(['/', '/proc', '/proc/self', '/sys', '/sys/fs/cgroup', '/dev', '/dev/'])(
    'may not have %s for its destination',
    (path) => {
      expect(() => parseMount(`/a:${path}`)).toThrow(
        'a destination other than /, /dev and what is under /proc and /sys',
      );
      expect(() => parseMount(path)).toThrow();
    },
  );

  it.each(['/dev/infiniband', '/procfs', '/system', '/developer'])(
    'may have %s, which only begins like one of these',
    (path) => {
      expect(parseMount(path).destination).toBe(path);
    },
  );

  it.each(['', 'a', '/a:b', '/a:/b:rw', '/a:/b:ro:ro', '/a:/b:/c', ':/a', '/a/../b', '/a:/b/..'])(
    'is not written %j',
    (text) => {
      expect(() => parseMount(text)).toThrow();
    },
  );

  it('can be read-only at its own path', () => {
    expect(parseMount('/a:ro')).toEqual({ source: '/a', destination: '/a', readOnly: true });
  });
});

describe('the file', () => {
  let directory: string;
  let file: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'berth-config-'));
    file = join(directory, FILE);
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  it('need not be there at the default path', async () => {
    expect(DEFAULT_CONFIG_PATH).toBe('/etc/berth/berth.toml');
    const { problems } = await checkConfig();
    expect(problems).toEqual([]);
  });

  it('must be there when its path was given', async () => {
    await expect(loadConfig(file)).rejects.toMatchObject({
      code: 'BERTH_CONFIG_UNREADABLE',
      what: `the configuration ${file} could not be read`,
    });
  });

  it('is refused with all of its problems in one error', async () => {
    writeFileSync(file, '[store]\npath = 1\nimport = 2\n', { mode: 0o600 });
    const error: unknown = await loadConfig(file).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({
      code: 'BERTH_CONFIG_INVALID',
      exitStatus: 2,
      what: `${file}:2: [store] path is 1`,
      why: `expected an absolute path; also ${file}:3: [store] import is 2 (expected one of "root", "anyone")`,
    });
  });

  it('must be a file, and UTF-8', async () => {
    mkdirSync(file);
    await expect(loadConfig(file)).rejects.toMatchObject({
      code: 'BERTH_CONFIG_UNREADABLE',
      why: 'it is not a regular file',
    });
    rmSync(file, { recursive: true });
    writeFileSync(file, Buffer.from([0xff, 0xfe]), { mode: 0o600 });
    await expect(loadConfig(file)).rejects.toMatchObject({ code: 'BERTH_CONFIG_UNREADABLE' });
  });
});

describe('the table of keys', () => {
  it('is what docs/configuration.md describes', async () => {
    await expect(configurationPage()).toMatchFileSnapshot('../../docs/configuration.md');
  });

  it('is explained in the file that packages install: as it is, and with every key in force, it has the defaults', () => {
    const text = defaultConfiguration();
    const { config: defaults } = parseConfig('', FILE);
    expect(parseConfig(text, FILE)).toMatchObject({ config: defaults, problems: [] });
    const inForce = parseConfig(text.replace(/^#(?=\w+ = )/gm, ''), FILE);
    expect(inForce).toMatchObject({ config: defaults, problems: [] });
    expect(inForce.origins.size).toBe(allKeys.length);
    expect([...inForce.origins.values()].filter((origin) => origin === 'default')).toEqual([]);
    expect(text.split('\n').filter((line) => line.startsWith('# ') && line.length > 100)).toEqual([]);
  });

  it.each(allKeys.map((key) => [key.title, key] as const))(
    'shows the default of %s as TOML that gives it again',
    (_, { table, name, kind }) => {
      const { config, problems } = parseConfig(`[${table}]\n${name} = ${kind.show(kind.default)}`, FILE);
      expect(problems).toEqual([]);
      expect(config).toEqual(parseConfig('', FILE).config);
    },
  );
});

describe('the nearest known word', () => {
  it.each([
    ['paht', 'path'],
    ['mount', 'mounts'],
    ['hmoe', 'home'],
    ['image', undefined],
    ['x', undefined],
  ])('to %s is %s', (written, near) => {
    expect(nearest(written, ['path', 'mounts', 'home', 'userns'])).toBe(near);
  });
});
