import { describe, expect, it } from 'vitest';
import { build, mountImage, unpackWithUmoci } from './helpers/converter.js';
import { inScratchOfItsOwn } from './helpers/lifecycle.js';
import { list, type Listed } from './helpers/listing.js';
import { removeMount } from './helpers/scratch.js';
import { directory, file, hardlink, symlink, tar, type TarEntry } from './helpers/tar.js';

let scratch: string;
inScratchOfItsOwn((made) => {
  scratch = made;
});

/** The image's tree, having checked that it is the one that umoci unpacks; undefined where both refuse the layers. */
function same(...layers: readonly (readonly TarEntry[])[]): Map<string, Listed> | undefined {
  const start = Math.floor(Date.now() / 1000);
  const archives = layers.map((layer) => tar(layer));
  const reference = unpackWithUmoci(scratch, archives);
  const { status, report, output } = build(scratch, archives);
  if (reference === undefined) {
    expect({ status, error: report.error }).toEqual({ status: 1, error: 'archive' });
    return undefined;
  }
  expect({ status, report }).toMatchObject({ status: 0 });
  const mount = mountImage(scratch, output);
  const image = list(mount);
  removeMount(mount);
  // Where umoci leaves the time of its own work, nobody has said another: a directory that no layer has an entry for, or
  // that something was removed from.
  const expected = new Map([...list(reference)].map(([path, listed]) => [path, dated(listed, image.get(path), start)]));
  expect(image).toEqual(expected);
  return image;
}

function dated(reference: Listed, ours: Listed | undefined, start: number): Listed {
  return reference.mtime >= start && ours !== undefined ? { ...reference, mtime: ours.mtime } : reference;
}

/** Names that are in the tree. */
function names(tree: Map<string, Listed> | undefined): string[] {
  return [...(tree?.keys() ?? [])].filter((path) => path !== '');
}

const base = [directory('./', { mode: 0o755 }), directory('d/'), file('d/f', 'lower'), file('f', 'lower')];

describe('an image is the tree that umoci unpacks', () => {
  it('of directories put together, the upper layer saying what they are', () => {
    const tree = same(base, [directory('d/', { mode: 0o700, uid: 7, mtime: 5 }), file('d/g', 'upper')]);
    expect(names(tree)).toEqual(['d', 'd/f', 'd/g', 'f']);
    expect(tree?.get('d')).toMatchObject({ mode: '700', owner: '7:0', mtime: 5 });
  });

  it('of names that try to leave the root', () => {
    expect(
      names(same([file('../../etc/passwd'), file('/abs'), file('a/../../b'), file('./c'), file('d/./e/../f')])),
    ).toEqual(['abs', 'b', 'c', 'd', 'd/f', 'etc', 'etc/passwd']);
  });

  it('of entries through symbolic links, which stay inside of the root', () => {
    const links = [
      directory('real/'),
      symlink('absolute', '/real'),
      symlink('out', '../../../../real'),
      symlink('chain', 'absolute/../out'),
      symlink('nowhere', '/missing/../made'),
    ];
    const tree = same(links, [file('absolute/a'), file('out/b'), file('chain/c'), file('nowhere/d')]);
    expect(names(tree)).toEqual([
      'absolute',
      'chain',
      'made',
      'made/d',
      'nowhere',
      'out',
      'real',
      'real/a',
      'real/b',
      'real/c',
    ]);
  });

  it('of a link at the end of a name, which is never followed', () => {
    const tree = same([file('target', 'kept'), symlink('link', 'target')], [file('link', 'replaces')]);
    expect(tree?.get('link')?.type).toBe('file');
    expect(names(tree)).toEqual(['link', 'target']);
  });

  it('of a directory in the place of a link to a directory: the link goes', () => {
    const tree = same([directory('real/'), file('real/f'), symlink('dir', 'real')], [directory('dir/'), file('dir/g')]);
    expect(names(tree)).toEqual(['dir', 'dir/g', 'real', 'real/f']);
  });

  it('of a link in the place of a directory: what was in it goes', () => {
    const tree = same(base, [symlink('d', 'f')]);
    expect(names(tree)).toEqual(['d', 'f']);
  });

  it("of files and directories in each other's place", () => {
    expect(names(same(base, [file('d'), directory('f/'), file('f/g')]))).toEqual(['d', 'f', 'f/g']);
  });

  it('of the same path twice: the last counts', () => {
    const tree = same([file('a', 'first'), file('a', 'last', { mode: 0o600 }), directory('a2/'), file('a2', 'file')]);
    expect(tree?.get('a')?.mode).toBe('600');
    expect(tree?.get('a2')?.type).toBe('file');
  });

  it("of implied directories: root's, 0755, and of 1970 where umoci takes the time of its own work", () => {
    const tree = same([file('x/y/z')]);
    expect(tree?.get('x/y')).toMatchObject({ mode: '755', owner: '0:0', mtime: 0 });
  });

  it('of entries below a file, which both refuse', () => {
    expect(same(base, [file('f/below')])).toBeUndefined();
  });

  it('of a symbolic link that leads to itself, which both refuse to go through', () => {
    expect(same([symlink('a', 'b'), symlink('b', 'a'), file('a/x')])).toBeUndefined();
  });

  it('of a root that is no directory, which both refuse', () => {
    expect(same([file('/', 'x')])).toBeUndefined();
    expect(same([symlink('.', 'etc')])).toBeUndefined();
  });

  it("of types that no container's tools write, which both refuse", () => {
    expect(same([{ name: 'x', type: 'Z' }])).toBeUndefined();
  });

  it('of directories by their slash alone, as the first tars wrote them', () => {
    const tree = same([{ name: 'old/', type: '\0' }, file('new/', 'a file')]);
    expect([tree?.get('old')?.type, tree?.get('new')?.type]).toEqual(['directory', 'file']);
  });
});

describe('whiteouts, as umoci applies them', () => {
  it('remove what is below them, directories with all they hold', () => {
    expect(names(same(base, [file('.wh.d'), file('.wh.f')]))).toEqual([]);
  });

  it('never remove what their own layer has, whichever comes first', () => {
    expect(names(same(base, [file('.wh.f'), file('f', 'new')]))).toContain('f');
    expect(names(same(base, [file('f', 'new'), file('.wh.f')]))).toContain('f');
    expect(names(same(base, [file('d/new'), file('.wh.d')]))).toEqual(['d', 'd/new', 'f']);
    expect(names(same(base, [file('.wh.d'), file('d/new')]))).toEqual(['d', 'd/new', 'f']);
  });

  it('clear a directory where they are opaque, but for what their own layer puts there', () => {
    expect(names(same(base, [file('d/new'), file('d/.wh..wh..opq')]))).toEqual(['d', 'd/new', 'f']);
    expect(names(same(base, [file('d/.wh..wh..opq'), file('d/new')]))).toEqual(['d', 'd/new', 'f']);
    expect(names(same(base, [file('.wh..wh..opq')]))).toEqual([]);
  });

  it('reach through symbolic links to directories, and no further than the root', () => {
    expect(names(same([...base, symlink('l', '/d')], [file('l/.wh.f')]))).toEqual(['d', 'f', 'l']);
    expect(names(same([...base, symlink('l', '../../d')], [file('l/.wh..wh..opq')]))).toEqual(['d', 'f', 'l']);
  });

  it('of what is not there change nothing', () => {
    expect(
      names(same(base, [file('.wh.none'), file('none/.wh.x'), file('f/.wh.x'), file('none/.wh..wh..opq')])),
    ).toEqual(['d', 'd/f', 'f']);
  });

  it('remove one of two hard links', () => {
    const tree = same([file('a', 'x'), hardlink('b', 'a')], [file('.wh.a')]);
    expect(tree?.get('b')?.links).toBeUndefined();
  });

  it("of aufs' own files are no files of the image", () => {
    expect(names(same(base, [directory('.wh..wh.plnk/'), file('.wh..wh.aufs')]))).toEqual(['d', 'd/f', 'f']);
  });
});

describe('hard links, as umoci makes them', () => {
  it('are one file, of a lower layer too', () => {
    const tree = same(base, [hardlink('again', 'f'), hardlink('d/third', '/again')]);
    expect(tree?.get('f')?.links).toBe('again d/third f');
  });

  it('keep the old file where another takes the name they lead to', () => {
    const tree = same(base, [hardlink('again', 'f')], [file('f', 'upper')]);
    expect(tree?.get('again')?.content).not.toBe(tree?.get('f')?.content);
  });

  it('lead to what the name is when they come, not later', () => {
    const tree = same(base, [hardlink('again', 'f'), file('f', 'later in the layer')]);
    expect(tree?.get('again')?.content).not.toBe(tree?.get('f')?.content);
  });

  it('stay inside of the root', () => {
    expect(same(base, [hardlink('again', '../../../f')])?.get('f')?.links).toBe('again f');
  });

  it('to a symbolic link are that link', () => {
    const tree = same([symlink('l', 'f'), hardlink('again', 'l')]);
    expect(tree?.get('again')).toMatchObject({ type: 'symlink', links: 'again l' });
  });

  it('through a symbolic link to a directory are found', () => {
    expect(same([...base, symlink('l', '/d')], [hardlink('again', 'l/f')])?.get('again')?.links).toBe('again d/f');
  });

  it.each([
    ['to a directory', [hardlink('again', 'd')]],
    ['to the root', [hardlink('again', '/')]],
    ['to nothing', [hardlink('again', 'none')]],
    ['to themselves', [hardlink('f', 'f')]],
    ['to an entry after them', [hardlink('again', 'later'), file('later')]],
    ['in a circle', [hardlink('x', 'y'), hardlink('y', 'x')]],
  ])('%s are refused by both', (_, layer) => {
    expect(same(base, layer)).toBeUndefined();
  });
});

describe('what a file is', () => {
  it('is kept: mode with setuid and sticky, owner by number, seconds, user attributes and capabilities', () => {
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
    const pax = { 'SCHILY.xattr.security.capability': capability, 'SCHILY.xattr.user.colour': 'blue\0\n=' };
    const tree = same([
      file('suid', 'x', { mode: 0o6755, uid: 1, gid: 2 }),
      directory('tmp/', { mode: 0o1777 }),
      file('big', 'x', { uid: 4_000_000_000, gid: 2_147_483_648, mtime: 4_294_967_295 }),
      file('caps', 'x', { pax }),
      { name: 'fifo', type: '6', mode: 0o600 },
    ]);
    expect(tree?.get('suid')).toMatchObject({ mode: '6755', owner: '1:2' });
    expect(tree?.get('big')).toMatchObject({ owner: '4000000000:2147483648', mtime: 4_294_967_295 });
    expect(tree?.get('caps')?.xattrs).toEqual([
      'security.capability=0x0100000200200000000000000000000000000000',
      'user.colour=0x626c7565000a3d',
    ]);
    expect(tree?.get('fifo')?.type).toBe('fifo');
  });

  it('loses the attributes that a directory entry of an upper layer does not repeat', () => {
    const tree = same([directory('d/', { pax: { 'SCHILY.xattr.user.a': '1' } })], [directory('d/')]);
    expect(tree?.get('d')?.xattrs).toBeUndefined();
  });

  it('has names that are bytes, in any character set', () => {
    const latin = Buffer.from('caf\xe9', 'latin1');
    const long = Buffer.from('\xff'.repeat(200), 'latin1');
    const tree = same([
      file(latin, '1'),
      file('日本', '2'),
      file(long, '3'),
      file('short', '4', { pax: { path: 'δ/ε' } }),
      symlink('link', 'x', { pax: { linkpath: 'ζ' } }),
    ]);
    const expected = [
      'caf\xe9',
      'link',
      '\xff'.repeat(200),
      ...['日本', 'δ', 'δ/ε'].map((name) => Buffer.from(name).toString('latin1')),
    ];
    expect(new Set(names(tree))).toEqual(new Set(expected));
    expect(tree?.get('link')?.content).toBe(Buffer.from('ζ').toString('latin1'));
  });

  it('has a name of up to 255 bytes and a path of thousands', () => {
    const tree = same([file('n'.repeat(255)), file(Array.from({ length: 15 }, () => 'd'.repeat(250)).join('/'))]);
    expect(names(tree)).toHaveLength(16);
    expect(same([file('n'.repeat(256))])).toBeUndefined();
  });
});

const SEED = Number(process.env['BERTH_SEED'] ?? 1);
const ROUNDS = Number(process.env['BERTH_ROUNDS'] ?? 25);

/** A small linear congruential generator: the same layers for the same seed. */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Entries on few names, so that they meet; most of them possible, some of them not. */
function randomLayer(random: (below: number) => number): TarEntry[] {
  const pick = <T>(from: readonly [T, ...T[]]): T => from[random(from.length)] ?? from[0];
  // One in ten is called what the other kind usually is.
  const folder = (): string => (random(30) === 0 ? pick(['..', '.', '', 'x']) : pick(['a', 'b', 'c']));
  const leaf = (): string => (random(10) === 0 ? pick(['a', 'b']) : pick(['x', 'y', 'z']));
  const folders = (most: number): string => Array.from({ length: 1 + random(most) }, folder).join('/');
  const path = (): string => (random(4) === 0 ? leaf() : `${folders(3)}/${leaf()}`);
  const rest = (): Partial<TarEntry> => ({
    mode: pick([0o644, 0o755, 0o4711, 0o1777]),
    uid: random(3) * 1000,
    gid: random(3) * 1000,
    mtime: 1_000_000_000 + random(1000),
  });
  const make: readonly [() => TarEntry, ...(() => TarEntry)[]] = [
    () => directory(folders(4), rest()),
    () => directory(`${folders(4)}/`, { ...rest(), pax: { 'SCHILY.xattr.user.test': pick(['x', 'y']) } }),
    () => directory(path(), rest()),
    () => file(path(), pick(['one', 'two', '']), rest()),
    () => file(path(), 'three', { ...rest(), pax: { 'SCHILY.xattr.user.test': pick(['x', 'y']) } }),
    () => symlink(path(), pick(['', '/', '../']) + path(), rest()),
    () => symlink(pick(['a/l', 'l', 'b/l']), pick(['/a', '../b', 'c', '/c/a', '../../a']), rest()),
    () => file(`${pick(['a/l', 'l', 'b/l'])}/${leaf()}`, 'four', rest()),
    () => file(`${folders(3)}/.wh.${pick(['a', 'b', 'x', 'y'])}`),
    () => file(`.wh.${pick(['a', 'b', 'x', 'y'])}`),
    () => file(`${folders(2)}/.wh..wh..opq`),
    () => ({ name: path(), type: pick(['3', '6', '6']), ...rest() }),
  ];
  const entries = Array.from({ length: 1 + random(9) }, () => pick(make)());
  // A hard link to something that is there, mostly.
  const target = entries.findLast(({ type, name }) => type !== '5' && !name.toString().includes('.wh.'));
  if (target !== undefined && random(3) > 0) entries.push(hardlink(path(), random(10) === 0 ? path() : target.name));
  return entries;
}

describe('an image of random layers', () => {
  it.each(Array.from({ length: ROUNDS }, (_, i) => SEED * 1000 + i))('is the tree that umoci unpacks (%i)', (seed) => {
    const random = generator(seed);
    const layers = Array.from({ length: 1 + random(4) }, () => randomLayer(random));
    same(...layers);
  });
});
