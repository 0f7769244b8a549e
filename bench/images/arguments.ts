/** The command line of the images bench. */
import { availableParallelism } from 'node:os';
import {
  commonOptions,
  commonUsage,
  parseOptions,
  UsageError,
  wholeNumber,
  wholeNumbers,
  type CommonOptions,
} from '../arguments.js';
import type { MakingPlan } from './making/bench.js';
import type { ReadingPlan } from './reading/bench.js';
import { USUAL_BLOCK } from './reading/forms.js';

export const usage = `How fast programs read from an image, by its format, and what it costs to make one of an image in a registry.

Usage: npm run bench -- images [reading|making] [OPTION...]

reading: the same Debian with numpy and mpi4py as squashfs, erofs, through squashfuse and as a directory: walked, read, and
imported from by many processes, with cold and warm caches. Drops the caches of the whole machine, over and over.
making: an image from a registry on this machine to a squashfs file, by Berth and by skopeo, umoci and mksquashfs with the
same compression. Both without an argument: about a quarter of an hour. Needs root, and leaves nothing behind but the
Debian packages that it installs when they are missing, and under build/ what it reads. Best run while nothing else does.

Options:
  --reading-rounds N  rounds, each with every format (default: 5)
  --making-rounds N   rounds, each with every way to an image (default: 5)
  --processes N       that import at once (default: 32)
  --level N           of zstd (default: 6, as berthd's)
  --block-sizes N,N   KiB, of squashfs (default: 128,256,1024)
  --levels N,N,...    of zstd, to make images with; 0 for none (default: 1,3,6,9,12,15,19)
  --block-size N      KiB, of what is made of the image in the registry (default: 128)
  --file-system TYPE  that images are made on: ext4, or xfs, which shares what is copied (default: ext4)
  --directory DIR     on whose disk everything is (default: /var/tmp)
${commonUsage}`;

export interface Options extends CommonOptions {
  /** An existing directory. */
  readonly directory: string;
  readonly reading?: ReadingPlan;
  readonly making?: MakingPlan;
}

/** @throws UsageError */
export function readArguments([first, ...rest]: readonly string[]): Options {
  const part = first === 'reading' || first === 'making' ? first : undefined;
  const values = parseOptions(part === undefined && first !== undefined ? [first, ...rest] : rest, {
    'reading-rounds': { type: 'string', default: '5' },
    'making-rounds': { type: 'string', default: '5' },
    processes: { type: 'string', default: '32' },
    level: { type: 'string', default: '6' },
    'block-sizes': { type: 'string', default: '128,256,1024' },
    levels: { type: 'string', default: '1,3,6,9,12,15,19' },
    'block-size': { type: 'string', default: String(USUAL_BLOCK / 1024) },
    'file-system': { type: 'string', default: 'ext4' },
    directory: { type: 'string', default: '/var/tmp' },
  });
  const level = wholeNumber('--level', values.level, 1, 22);
  const fileSystem = values['file-system'];
  if (fileSystem !== 'ext4' && fileSystem !== 'xfs') {
    throw new UsageError(`--file-system takes ext4 or xfs, not "${fileSystem}"`);
  }
  const reading: ReadingPlan = {
    rounds: wholeNumber('--reading-rounds', values['reading-rounds'], 1, 1000),
    processes: wholeNumber('--processes', values.processes, 1, 1000),
    level,
    blockSizes: values['block-sizes'].split(',').map((text) => blockSize('--block-sizes', text)),
    levels: values.levels === '0' ? [] : wholeNumbers('--levels', values.levels, 1, 22),
  };
  const making: MakingPlan = {
    rounds: wholeNumber('--making-rounds', values['making-rounds'], 1, 1000),
    fileSystem,
    compression: { level, blockSize: blockSize('--block-size', values['block-size']) },
    // As many as berth-converter uses when it is not told.
    processors: Math.min(availableParallelism(), 8),
  };
  return {
    ...commonOptions(values),
    directory: values.directory,
    ...(part === 'making' ? {} : { reading }),
    ...(part === 'reading' ? {} : { making }),
  };
}

/** Of KiB, in bytes. */
function blockSize(option: string, text: string): number {
  const size = wholeNumber(option, text, 4, 1024);
  if ((size & (size - 1)) !== 0) throw new UsageError(`${option} takes powers of two, not "${text}"`);
  return size * 1024;
}
