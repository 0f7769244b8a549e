import { posix } from 'node:path';
import { hasStrayPercent, PLACEHOLDERS } from './placeholders.js';
import type { Form } from './table.js';

const MODULE_NAME = /^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$/;

/** Could a module be called that? `none` is the option's word for no module at all. */
export function isModuleName(text: string): boolean {
  return MODULE_NAME.test(text) && text !== 'none';
}

export const moduleName: Form<string> = {
  expected: 'the name of a module: letters, digits and _ . + -',
  read: (text) => (isModuleName(text) ? text : undefined),
};

export const accountName: Form<string> = {
  expected: 'the name of a user',
  read: (text) => (/^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/.test(text) ? text : undefined),
};

export const anyText: Form<string> = { expected: 'a text', read: (text) => text };

export function oneOf<const C extends readonly string[]>(choices: C): Form<C[number]> {
  return {
    expected: `one of ${choices.map((each) => `"${each}"`).join(', ')}`,
    read: (text) => choices.find((each) => each === text),
  };
}

/** A path of the host, as it is. */
export const path: Form<string> = { expected: 'an absolute path without ".."', read: plainPath };

/** A path of the host in which *, ? and [...] stand for what is there. */
export const pattern: Form<string> = {
  expected: 'an absolute path without "..", in which * ? [...] may stand for names',
  read: plainPath,
};

export const patternWithPlaceholders: Form<string> = {
  expected: `an absolute path without "..", in which * ? [...] may stand for names, and ${PLACEHOLDERS}`,
  read: readPlaced,
};

/** A place in the container that it does not set up itself. */
export const destination: Form<string> = {
  expected: `an absolute path of the container without "..", other than /, /dev, and what is under /proc, /sys and /.berth; it may have ${PLACEHOLDERS}`,
  read: (text) => {
    const read = readPlaced(text);
    return read === undefined || isReserved(read) ? undefined : read;
  },
};

export const value: Form<string> = {
  expected: `a text without control characters; it may have ${PLACEHOLDERS}`,
  read: (text) => (hasStrayPercent(text) || /\p{Cc}/u.test(text) ? undefined : text),
};

/** Slurm's, the process managers' and those by which Slurm says which devices a rank has; and Berth's own. */
const OTHERS =
  /^(?:SLURM|SLURMD|SPANK|PMI2?|BERTH)_|^PMIX_(?!MCA_)|^(?:CUDA_VISIBLE_DEVICES|ROCR_VISIBLE_DEVICES|HIP_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|ZE_AFFINITY_MASK)$/;

/** Is this a variable that neither a module nor a CDI specification may change? */
export function isOthersVariable(name: string): boolean {
  return OTHERS.test(name);
}

export const variable: Form<string> = {
  expected:
    "the name of a variable, not one of Slurm's or PMI's or one by which Slurm says which devices a rank has (such as CUDA_VISIBLE_DEVICES)",
  read: (text) => (isVariableName(text) && !isOthersVariable(text) ? text : undefined),
};

export function isVariableName(text: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(text);
}

export const character: Form<string> = {
  expected: 'one character',
  read: (text) => (/^[\x20-\x7e]$/.test(text) ? text : undefined),
};

/** A qualified kind of the CDI specification. */
export const cdiKind: Form<string> = {
  expected: 'VENDOR/CLASS, such as "nvidia.com/gpu"',
  read: (text) =>
    /^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]\/[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?$/.test(text) ? text : undefined,
};

export const cdiDevice: Form<string> = {
  expected: 'the name of a CDI device: letters, digits and _ . : -',
  read: (text) => (/^[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?$/.test(text) ? text : undefined),
};

export const soname: Form<string> = {
  expected: 'the name of a library, such as "libmpi.so.12"',
  read: (text) => (/^[A-Za-z0-9_.+-]+\.so[A-Za-z0-9_.+-]*$/.test(text) ? text : undefined),
};

/** A path that may begin with the user's home directory. */
function readPlaced(text: string): string | undefined {
  if (hasStrayPercent(text)) return undefined;
  if (!/^%h(?:\/|$)/.test(text)) return text.includes('%h') ? undefined : plainPath(text);
  return plainPath(`/${text}`)?.slice(1);
}

/** The path without needless slashes; undefined where it is relative, has "..", or control characters. */
export function plainPath(text: string): string | undefined {
  if (!text.startsWith('/') || /\p{Cc}/u.test(text) || text.split('/').includes('..')) return undefined;
  const normal = posix.normalize(text);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

/** What a container sets up itself. */
export function isReserved(place: string): boolean {
  const [, top, below] = place.split('/');
  return top === '' || top === 'proc' || top === 'sys' || top === '.berth' || (top === 'dev' && below === undefined);
}
