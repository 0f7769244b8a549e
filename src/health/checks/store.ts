import { createHash, type Hash } from 'node:crypto';
import { basename, join } from 'node:path';
import { errorCode, systemWords } from '../../errors/index.js';
import { Layout } from '../../image/layout.js';
import { parseRecord } from '../../image/record.js';
import { currentOwner, isStale } from '../../image/temporary.js';
import { count, fail, pass, some, warn, type Check, type Context, type Verdict } from '../check.js';
import { ProbeFailure, type Listed, type PathFacts, type ProbeSession } from '../probe.js';

/** Records read in one run. Where there are more, the next run goes on from there. */
const RECORDS_A_RUN = 200;

/** Unfinished work of another node that is older than this is that of a dead one, in seconds. */
const LONGEST_WORK = 7 * 86_400;

const MIB = 1024 * 1024;

/** The image store, which may be a file system that all nodes share. All of it is asked through the probe. */
export const storeChecks: readonly Check[] = [
  {
    id: 'store-reachable',
    family: 'store',
    reads: '[store] path, and its directory of images',
    rule: "both are directories of root's that answer within 3 s",
    matters: 'every launch opens its image there',
    hint: 'is the file system mounted, and its server up? [store] path says where the store is',
    run: async ({ config, probe }) => {
      const { root, images } = new Layout(config.store.path);
      for (const path of [root, images]) {
        const facts = await answering(path, probe);
        if (typeof facts === 'string') return fail(facts);
        if (!facts.isDirectory) return fail(`${path} is not a directory`);
        if (facts.uid !== 0) return fail(`${path} belongs to uid ${facts.uid}`);
        if ((facts.mode & 0o022) !== 0) return fail(`others than root may write to ${path}`);
      }
      return pass(`${root} answers`);
    },
  },
  {
    id: 'store-space',
    family: 'store',
    reads: 'free space of the file system with the store',
    rule: 'a warning below [health] free percent, a failure below a tenth of that',
    matters: 'without space no image can be imported or pulled',
    hint: 'berth gc frees what nobody needs; remove images, or give the store a larger file system',
    needs: ['store-reachable'],
    run: async ({ config, probe }) => {
      const { size, free } = await probe.stat(config.store.path);
      return scarcity(free, size, config.health.free, `space under ${config.store.path} is`);
    },
  },
  {
    id: 'store-inodes',
    family: 'store',
    reads: 'free inodes of the file system with the store',
    rule: 'as for its space',
    matters: 'without inodes no image can be imported or pulled, however much space there is',
    hint: 'something keeps very many small files on the file system of the store: give the store its own',
    needs: ['store-reachable'],
    run: async ({ config, probe }) => {
      const { files, freeFiles } = await probe.stat(config.store.path);
      if (files === 0) return pass('no limit');
      return scarcity(freeFiles, files, config.health.free, `inodes under ${config.store.path} are`);
    },
  },
  {
    id: 'store-writable',
    family: 'store',
    reads: 'writes 4 KiB into a nameless file of the store, and has it reach the disk or server',
    rule: 'it succeeds within 3 s',
    matters: 'imports and pulls write there, and launches note which images are in use',
    hint: 'is the file system mounted read-only, or does its server refuse root (no_root_squash)?',
    needs: ['store-reachable', 'store-space', 'store-inodes'],
    run: async ({ config, probe }) => {
      const { temporary } = new Layout(config.store.path);
      try {
        await probe.ask('write', [temporary]);
        return pass(`a file can be written to ${temporary}`);
      } catch (error) {
        if (error instanceof ProbeFailure) return fail(`${temporary} cannot be written to: ${error.message}`);
        throw error;
      }
    },
  },
  {
    id: 'store-records',
    family: 'store',
    reads: `what the store knows of its images: up to ${RECORDS_A_RUN} records a run, in turn`,
    rule: 'each is as berthd writes them',
    matters: 'an image whose record is torn cannot be launched',
    hint: 'berth import or berth pull the image anew; a disk or server that loses data will do it again',
    needs: ['store-reachable'],
    run: (context) => checkRecords(context),
  },
  {
    id: 'store-digests',
    family: 'store',
    reads: 'the image files themselves: [health] verify MiB a run, in turn',
    rule: 'each has the SHA-256 that is its name',
    matters: 'a damaged image gives jobs wrong files, without a word',
    hint: 'berth rmi the image and import or pull it anew; look for other signs of a failing disk',
    needs: ['store-reachable'],
    run: (context) => checkDigests(context),
  },
  {
    id: 'store-unfinished',
    family: 'store',
    reads: 'the names under tmp in the store, which tell whose unfinished work they are',
    rule: 'none belongs to a process of this node that is gone, and none is older than a week',
    matters: 'torn imports and pulls take space for ever',
    hint: 'restart berthd, which removes its own; of nodes that are no more, remove them by hand',
    needs: ['store-reachable'],
    run: async ({ config, probe }) => {
      const { temporary } = new Layout(config.store.path);
      const entries = await probe.list(join(temporary, '*'));
      const self = await currentOwner();
      const stale = await Promise.all(
        entries.map(async ({ path, age }) => age > LONGEST_WORK || isStale(basename(path), self)),
      );
      const torn = entries.filter((_, i) => stale[i] === true).map(({ path }) => basename(path));
      if (torn.length > 0)
        return warn(`${count(torn.length, 'piece')} of unfinished work in ${temporary}: ${some(torn)}`);
      return pass(entries.length === 0 ? 'none' : `${entries.length}, all under way`);
    },
  },
];

/** What a path says, or why it is no use. */
export async function answering(path: string, probe: ProbeSession): Promise<PathFacts | string> {
  try {
    return await probe.stat(path);
  } catch (error) {
    if (!(error instanceof ProbeFailure)) throw error;
    if (error.kind === 'silent') return `${path}: ${error.message}`;
    return error.code === 'ENOENT' ? `${path} is not there` : `${path}: ${error.message}`;
  }
}

/** @param least percent that should be free */
export function scarcity(free: number, all: number, least: number, what: string): Verdict {
  const percent = all === 0 ? 100 : (100 * free) / all;
  const text = `${percent < 10 ? percent.toFixed(1) : Math.floor(percent)} % of the ${what} free`;
  if (percent < least / 10) return fail(text);
  return percent < least ? warn(text) : pass(text);
}

async function checkRecords({ config, probe, memory }: Context): Promise<Verdict> {
  const layout = new Layout(config.store.path);
  const patterns = [join(layout.refs, '*', '*.json'), join(layout.images, '*.json'), join(layout.manifests, '*.json')];
  const turn = memory.get('records', () => ({ next: 0, torn: new Map<string, string>() }));
  const { matches, files } = await probe.read(patterns, turn.next, RECORDS_A_RUN);
  turn.next = turn.next + RECORDS_A_RUN >= matches ? 0 : turn.next + RECORDS_A_RUN;
  for (const { path, content, code } of files) {
    const fault = content === undefined ? unreadable(code ?? '') : faultOf(path, content, layout);
    if (fault === undefined) turn.torn.delete(path);
    else turn.torn.set(path, fault);
  }
  const torn = [...turn.torn].filter(([path]) => matches > RECORDS_A_RUN || files.some((file) => file.path === path));
  if (torn.length > 0) return fail(some(torn.map(([path, fault]) => `${path} ${fault}`)));
  const share = matches > files.length ? `${files.length} of ${matches}, the others in turn` : count(matches, 'record');
  return pass(share);
}

/** Undefined for what was removed between being listed and being read. */
function unreadable(code: string): string | undefined {
  return code === 'ENOENT' ? undefined : `cannot be read: ${systemWords(code)}`;
}

function faultOf(path: string, content: string, layout: Layout): string | undefined {
  if (path.startsWith(`${layout.manifests}/`)) {
    try {
      JSON.parse(content);
      return undefined;
    } catch {
      return 'is not JSON';
    }
  }
  try {
    parseRecord(content, path, path);
    return undefined;
  } catch (error) {
    if (errorCode(error) === 'BERTH_IMAGE_DAMAGED') return 'is torn, or not what berthd wrote';
    throw error;
  }
}

/** Where the rolling check is. */
interface Progress {
  file: string;
  size: number;
  offset: number;
  hash: Hash;
  readonly damaged: Set<string>;
  /** Images read to their end since berthd started. */
  readonly sound: Set<string>;
}

async function checkDigests({ config, probe, memory }: Context): Promise<Verdict> {
  if (config.health.verify === 0) return pass('off: [health] verify is 0');
  const { images } = new Layout(config.store.path);
  const listed = await probe.list(join(images, '*.squashfs'));
  const progress = memory.get<Progress>('digests', () => ({
    file: '',
    size: 0,
    offset: 0,
    hash: createHash('sha256'),
    damaged: new Set(),
    sound: new Set(),
  }));
  const present = new Set(listed.map(({ path }) => path));
  for (const path of [...progress.damaged, ...progress.sound]) {
    if (present.has(path)) continue;
    progress.damaged.delete(path);
    progress.sound.delete(path);
  }
  await readOn(listed, progress, config.health.verify * MIB, probe);
  if (progress.damaged.size > 0) return fail(`not what their names say: ${some([...progress.damaged])}`);
  return pass(`${progress.sound.size} of ${count(listed.length, 'image')} read to the end since berthd started`);
}

/** Reads up to `budget` bytes more, from image to image, each once at most. */
async function readOn(
  listed: readonly Listed[],
  progress: Progress,
  budget: number,
  probe: ProbeSession,
): Promise<void> {
  let left = budget;
  for (let files = 0; left > 0 && files <= listed.length;) {
    const current = listed.find(({ path, size }) => path === progress.file && size === progress.size);
    if (!current) {
      const next = listed.find(({ path }) => path > progress.file) ?? listed[0];
      if (!next) return;
      Object.assign(progress, { file: next.path, size: next.size, offset: 0, hash: createHash('sha256') });
      files++;
      continue;
    }
    const most = Math.min(left, current.size - progress.offset);
    const bytes = await probe.ask('slice', [current.path, String(progress.offset), String(most)], { most: budget });
    progress.hash.update(bytes);
    progress.offset += bytes.length;
    left -= Math.max(bytes.length, 1);
    if (bytes.length < most) break;
    if (progress.offset >= current.size) finish(progress);
  }
}

function finish(progress: Progress): void {
  const expected = basename(progress.file, '.squashfs');
  const isSound = progress.hash.digest('hex') === expected;
  progress.damaged[isSound ? 'delete' : 'add'](progress.file);
  progress.sound[isSound ? 'add' : 'delete'](progress.file);
  // Of no image: the next run takes the one after this.
  progress.size = -1;
}
