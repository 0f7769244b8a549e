import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { v1 } from '../protocol/index.js';
import { BerthError } from '../errors/index.js';
import { nodeName } from '../health/index.js';
import { parseReference, storeKey } from '../image/index.js';
import type { LaunchOrder } from '../launch/index.js';
import { askedFor, writtenOption } from '../options/index.js';

// Bounds of proto/berth.options, and of the kernel (NGROUPS_MAX).
const MOST_IMAGE = 4095;
const MOST_GROUPS = 65536;
const MOST_JOB = 2 ** 32 - 1;

/**
 * A launch request with everything checked that later code relies on.
 *
 * @throws BerthError BERTH_PROTOCOL_FRAME naming the field that is wrong; BERTH_IMAGE_NAME.
 */
export function launchOrder(request: v1.LaunchRequest): LaunchOrder {
  const { jobId, stepId, uid, gid, gids, image, nodeName, spoolDir, saves } = request;
  check(jobId > 0 && jobId <= MOST_JOB, 'job_id');
  check(image.length <= MOST_IMAGE, 'image');
  check(gids.length <= MOST_GROUPS, 'gids');
  check(spoolDir === '' || isPlainAbsolute(spoolDir), 'spool_dir');
  const asked = askedFor(request.options.map(writtenOption));
  check(image.length > 0 || asked.options.name !== undefined, 'image');
  return {
    jobId,
    stepId,
    uid,
    gid,
    gids,
    // One spelling for one image, or each would have a container of its own.
    ...imageWords(image),
    ...asked,
    nodeName: nodeName || hostname(),
    spoolDir,
    saves,
  };
}

/** Who asks for a run, as the kernel says. */
export interface Asker {
  readonly uid: number;
  readonly gid: number;
  readonly gids: readonly number[];
  /** 0 outside of jobs. */
  readonly jobId: number;
  readonly stepId: number;
}

/**
 * What a user who runs a container asks for, with everything checked that later code relies on.
 *
 * @throws BerthError BERTH_PROTOCOL_FRAME naming the field that is wrong; BERTH_IMAGE_NAME; BERTH_OPTION and its like.
 */
export function runOrder({ image, options, alone }: v1.RunRequest, asker: Asker): LaunchOrder {
  check(image.length <= MOST_IMAGE, 'image');
  const asked = askedFor(options.map(writtenOption));
  const { name, save } = asked.options;
  check(image.length > 0 || name !== undefined, 'image');
  if (save !== undefined) {
    const why = 'a container is saved when the job step ends that it was made for, and this is none';
    throw new BerthError('BERTH_OPTION', { option: '--container-save', value: save, why });
  }
  const isShared = name !== undefined || !alone;
  return {
    ...asker,
    ...imageWords(image),
    ...asked,
    optionsKey: isShared ? asked.optionsKey : `alone=${randomBytes(8).toString('hex')}`,
    // By which Slurm is asked about the node.
    nodeName: nodeName(),
    spoolDir: '',
  };
}

/** A path stays what it is: only its file tells whether it is the same as another. */
function imageWords(image: string): Pick<LaunchOrder, 'image' | 'imageName'> {
  if (image === '') return { image };
  const reference = parseReference(image);
  if (reference.kind === 'name') return { image: storeKey(reference), imageName: reference.text };
  return { image: reference.kind === 'path' ? plainPath(image, reference.text) : storeKey(reference) };
}

function plainPath(image: string, path: string): string {
  // ".." stays: what is above a symbolic link is only known where the path is looked up.
  if (path.startsWith('/')) return path.replace(/\/(?:\.?\/)+/g, '/');
  const why = 'it is relative to where the command was given, which is not known on this node';
  throw new BerthError('BERTH_IMAGE_NAME', { name: image, why });
}

function check(holds: boolean, field: string): void {
  if (!holds)
    throw new BerthError('BERTH_PROTOCOL_FRAME', { why: `the request for a container has no usable ${field}` });
}

function isPlainAbsolute(path: string): boolean {
  return path.startsWith('/') && !path.includes('\0') && !path.split('/').some((part) => part === '..' || part === '.');
}
