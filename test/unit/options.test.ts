import { describe, expect, it } from 'vitest';
import { BerthError } from '../../src/errors/index.js';
import { optionsKey, parseOptions, showSize, type WrittenOption } from '../../src/options/index.js';

function written(...options: string[]): WrittenOption[] {
  return options.map((option) => {
    const [name = '', ...value] = option.split('=');
    return { name, value: value.join('=') };
  });
}

const names = (count: number): string[] => Array.from({ length: count }, (_, at) => `v${at}`);

function codeOf(...options: string[]): string {
  try {
    parseOptions(written(...options));
  } catch (error) {
    if (error instanceof BerthError) return error.code;
    throw error;
  }
  return 'none';
}

describe('options of a container', () => {
  it('mean the same in Pyxis’s and in Shifter’s spelling', () => {
    const pyxis = parseOptions(written('container-mounts=/data:/mnt:ro,/scratch'));
    const shifter = parseOptions(written('volume=/data:/mnt:ro;/scratch'));
    const plain = (options: typeof pyxis) => options.volumes.map((volume) => ({ ...volume, origin: '' }));
    expect(plain(shifter)).toEqual(plain(pyxis));
    expect(plain(pyxis)).toEqual([
      {
        kind: 'bind',
        source: '/data',
        destination: '/mnt',
        readOnly: true,
        recursive: true,
        propagation: 'slave',
        origin: '',
      },
      {
        kind: 'bind',
        source: '/scratch',
        destination: '/scratch',
        readOnly: false,
        recursive: true,
        propagation: 'slave',
        origin: '',
      },
    ]);
  });

  it('take several volumes, in the order in which they were given', () => {
    const { volumes } = parseOptions(
      written('volume=/b', 'volume=/a;tmpfs:/t:size=1G', 'mount=/c:/d:ro+norec+private'),
    );
    expect(volumes.map(({ destination }) => destination)).toEqual(['/b', '/a', '/t', '/d']);
    expect(volumes[2]).toMatchObject({ kind: 'tmpfs', size: 1024 });
    expect(volumes[3]).toMatchObject({ readOnly: true, recursive: false, propagation: 'private' });
  });

  it('know squashfs files and per-node caches', () => {
    const cache = '/scratch/me:/cache:perNodeCache=size=10G,fs=ext4';
    for (const option of [`container-mounts=/a.sqsh:/a:sqsh,${cache}`, `volume=/a.sqsh:/a:sqsh;${cache}`]) {
      const { volumes } = parseOptions(written(option));
      expect(volumes[0]).toMatchObject({ kind: 'squashfs', source: '/a.sqsh', destination: '/a' });
      expect(volumes[1]).toMatchObject({ kind: 'cache', source: '/scratch/me', size: 10240, filesystem: 'ext4' });
    }
    expect(parseOptions(written('volume=/s:/c:perNodeCache=size=300M')).volumes[0]).toMatchObject({
      size: 300,
      filesystem: 'ext4',
    });
  });

  it('take paths as they are written: with spaces, dollars, and in --volume with commas', () => {
    const { volumes } = parseOptions(written('volume=/a b/$HOME,x:/mnt/%s ü'));
    expect(volumes[0]).toMatchObject({ source: '/a b/$HOME,x', destination: '/mnt/%s ü' });
  });

  it.each([
    ['a relative source', 'BERTH_PATH_RELATIVE', ['volume=data:/data']],
    ['a relative destination', 'BERTH_PATH_RELATIVE', ['volume=/data:data']],
    ['".." in a path', 'BERTH_PATH_RELATIVE', ['volume=/data/../etc:/data']],
    ['a comma in a path of --container-mounts', 'BERTH_PATH_RELATIVE', ['container-mounts=/a,b:/c']],
    ['a relative workdir', 'BERTH_PATH_RELATIVE', ['container-workdir=here']],
    ['an empty part', 'BERTH_VOLUME', ['volume=/a:/b;;/c']],
    ['a volume without a destination', 'BERTH_VOLUME', ['volume=/a:']],
    ['a colon too many', 'BERTH_VOLUME', ['volume=/a:/b:ro:rw']],
    ['a tmpfs without a destination', 'BERTH_VOLUME', ['volume=tmpfs']],
    ['an unknown flag', 'BERTH_VOLUME_FLAG', ['volume=/a:/b:readonly']],
    ['the name of a property every object has', 'BERTH_VOLUME_FLAG', ['volume=/a:/b:constructor']],
    ['a shared mount', 'BERTH_VOLUME_FLAG', ['volume=/a:/b:rshared']],
    ['a flag of another kind', 'BERTH_VOLUME_FLAG', ['volume=tmpfs:/t:ro']],
    ['an unknown file system', 'BERTH_VOLUME_FLAG', ['volume=/a:/b:perNodeCache=size=1G,fs=zfs']],
    ['flags that contradict each other', 'BERTH_OPTION_CONFLICT', ['volume=/a:/b:ro+rw']],
    ['a size of nothing', 'BERTH_SIZE', ['volume=tmpfs:/t:size=0G']],
    ['a size without a unit', 'BERTH_SIZE', ['volume=tmpfs:/t:size=100']],
    ['a cache without a size', 'BERTH_SIZE', ['volume=/a:/b:perNodeCache']],
    ['two volumes at one place', 'BERTH_VOLUME_DUPLICATE', ['volume=/a:/c', 'volume=/b:/c/']],
    ['two spellings of one thing', 'BERTH_OPTION_CONFLICT', ['volume=/a', 'container-mounts=/b']],
    ['an option and its opposite', 'BERTH_OPTION_CONFLICT', ['container-mount-home', 'no-container-mount-home']],
    ['writable and read-only', 'BERTH_OPTION_CONFLICT', ['container-writable', 'container-readonly']],
    ['saving what cannot change', 'BERTH_OPTION_CONFLICT', ['container-save=/a.sqsh', 'container-readonly']],
    ['a log of no entrypoint', 'BERTH_OPTION_CONFLICT', ['container-entrypoint-log', 'no-container-entrypoint']],
    ['two values', 'BERTH_OPTION', ['container-workdir=/a', 'container-workdir=/b']],
    ['neither a size nor a directory to write to', 'BERTH_OPTION', ['container-writable=results']],
    ['a directory to save as', 'BERTH_OPTION', ['container-save=/scratch/me/']],
    ['variables separated by spaces', 'BERTH_OPTION', ['container-env=PATH LANG']],
    ['a value for a flag', 'BERTH_OPTION', ['container-mount-home=yes']],
    ['a strange name', 'BERTH_OPTION', ['container-name=../x']],
    ['an unknown mode of a name', 'BERTH_OPTION', ['container-name=x:start']],
    ['an unknown namespace', 'BERTH_OPTION', ['container-unshare=pid']],
    ['a namespace twice', 'BERTH_OPTION', ['container-unshare=net,net']],
    ['no module beside others', 'BERTH_OPTION', ['module=gpu,none']],
    ['a newline in a path', 'BERTH_OPTION', ['volume=/a\n/b']],
    [
      'more squashfs files than are mounted at once',
      'BERTH_OPTION',
      names(17).map((name) => `volume=/${name}:/${name}:sqsh`),
    ],
    ['more volumes than a container has', 'BERTH_OPTION', names(513).map((name) => `volume=/a:/${name}`)],
    ['an option nobody knows', 'BERTH_OPTION_UNKNOWN', ['container-magic=1']],
    ['an option that is a property of every object', 'BERTH_OPTION_UNKNOWN', ['constructor']],
  ])('refuse %s with %s', (_, code, options) => {
    expect(codeOf(...options)).toBe(code);
  });

  it('call a mount that no option of srun has asked for by no such option', () => {
    expect(() => parseOptions(written('mount=data:/data'))).toThrow(/: mount=data:\/data was given data/);
  });

  it('add up where they may be repeated', () => {
    const options = parseOptions(
      written('module=gpu,rdma', 'module=gpu', 'container-env=A,B', 'container-env=C', 'env=X=1', 'env=Y=a=b'),
    );
    expect(options.modules).toEqual(['gpu', 'rdma']);
    expect(options.keptVariables).toEqual(['A', 'B', 'C']);
    expect(options.variables).toEqual([
      { name: 'X', value: '1' },
      { name: 'Y', value: 'a=b' },
    ]);
  });

  it('ask for a writable container in memory, of a size, or in a directory', () => {
    expect(parseOptions(written('container-writable')).writable).toEqual({});
    expect(parseOptions(written('container-writable=2G')).writable).toEqual({ size: 2048 });
    expect(parseOptions(written('container-writable=/scratch/me/upper')).writable).toEqual({
      directory: '/scratch/me/upper',
    });
    expect(parseOptions(written('container-readonly')).writable).toBe(false);
  });
});

describe('the key of options', () => {
  it('is the same whatever the order of different options, and another for another order of volumes', () => {
    const key = (...options: string[]) => optionsKey(written(...options));
    expect(key('volume=/a', 'module=x')).toBe(key('module=x', 'volume=/a'));
    expect(key('volume=/a', 'volume=/b')).not.toBe(key('volume=/b', 'volume=/a'));
  });

  it('is the name of a named container alone', () => {
    expect(optionsKey(written('container-name=a:create', 'volume=/a'))).toBe(optionsKey(written('container-name=a')));
  });

  it('leaves out what each program of a container can have its own way', () => {
    expect(optionsKey(written('container-workdir=/a', 'env=A=1', 'container-env=B'))).toBe('');
  });

  it('is that of a writable container where it is to be saved, whatever the file is', () => {
    const writable = optionsKey(written('container-writable='));
    expect(writable).not.toBe('');
    expect(optionsKey(written('container-save=/x'))).toBe(writable);
    expect(optionsKey(written('container-save=/y', 'container-writable='))).toBe(writable);
  });
});

describe('a size', () => {
  it.each([
    [512, '512M'],
    [2048, '2G'],
    [1536, '1536M'],
    [2 ** 20, '1T'],
  ])('of %i MiB is shown as %s', (size, text) => expect(showSize(size)).toBe(text));
});
