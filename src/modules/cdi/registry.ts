import { readdirSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { BerthError, errorCode, reasonOf } from '../../errors/index.js';
import { readTrusted, refuseUntrusted, stateOf } from '../trusted.js';
import { readSpecification, SpecificationFault, type Edits, type Specification } from './specification.js';

/** Longest specification that is read, in bytes: that of sixteen graphics cards has some 50 KiB. */
const SIZE_LIMIT = 4 * 1024 * 1024;

/** A device, as a specification that counts describes it. */
export interface CdiDevice {
  readonly name: string;
  readonly edits: Edits;
  readonly specification: Specification;
}

/** A file that cannot be used. */
export interface CdiFault {
  readonly file: string;
  /** What it is about, as far as it can be known. */
  readonly kind: string | undefined;
  readonly error: BerthError;
}

/** All that the directories describe. */
export interface CdiDevices {
  /** By kind, then by name. */
  readonly kinds: ReadonlyMap<string, ReadonlyMap<string, CdiDevice>>;
  readonly specifications: readonly Specification[];
  readonly faults: readonly CdiFault[];
}

/** What the directories of CDI specifications hold. Read anew when one of them or a file in them has changed. */
export class CdiRegistry {
  #state: string | undefined;
  #devices: Promise<CdiDevices> = Promise.resolve({ kinds: new Map(), specifications: [], faults: [] });

  /** @param directories of the same device, the description in the later one counts */
  constructor(readonly directories: readonly string[]) {}

  /** Never fails: what is wrong is a fault. */
  current(): Promise<CdiDevices> {
    const listed = this.directories.map((directory) => ({ directory, files: filesOf(directory) }));
    const state = listed.map(({ directory, files }) => [directory, ...files].map(stateAt).join(' ')).join('\n');
    if (state === this.#state) return this.#devices;
    this.#devices = read(listed);
    this.#state = state;
    return this.#devices;
  }
}

function filesOf(directory: string): string[] {
  try {
    const names = readdirSync(directory).filter((name) => /\.(?:json|ya?ml)$/.test(name) && !name.startsWith('.'));
    return names.sort().map((name) => join(directory, name));
  } catch {
    // That it cannot be listed is told when it is read.
    return [];
  }
}

function stateAt(path: string): string {
  try {
    const status = statSync(path, { bigint: true });
    return `${path} ${stateOf(status)}:${status.uid}:${status.mode}`;
  } catch (error) {
    return `${path} ${errorCode(error) ?? ''}`;
  }
}

async function read(
  listed: readonly { readonly directory: string; readonly files: readonly string[] }[],
): Promise<CdiDevices> {
  const kinds = new Map<string, Map<string, CdiDevice>>();
  const specifications: Specification[] = [];
  const faults: CdiFault[] = [];
  for (const { directory, files } of listed) {
    const found: Specification[] = [];
    for (const file of files) {
      try {
        found.push(await readFile(directory, file));
      } catch (error) {
        const kind = error instanceof SpecificationFault ? error.kind : undefined;
        faults.push({ file, kind, error: faultError(file, reasonOf(error), error) });
      }
    }
    specifications.push(...found);
    const here = new Map<string, Specification>();
    for (const specification of found) {
      for (const { name, edits } of specification.devices) {
        const { file, kind } = specification;
        const qualified = `${kind}=${name}`;
        const other = here.get(qualified);
        if (other) {
          faults.push({ file, kind, error: faultError(file, `it describes ${qualified}, and so does ${other.file}`) });
          continue;
        }
        here.set(qualified, specification);
        const ofKind = kinds.get(kind) ?? new Map<string, CdiDevice>();
        kinds.set(kind, ofKind.set(name, { name, edits, specification }));
      }
    }
  }
  return { kinds, specifications, faults };
}

async function readFile(directory: string, file: string): Promise<Specification> {
  refuseUntrusted(realpathSync(directory));
  return await readSpecification(file, readTrusted(file, SIZE_LIMIT).text);
}

function faultError(file: string, why: string, cause?: unknown): BerthError {
  return new BerthError('BERTH_CDI_SPECIFICATION', { file, why }, { cause });
}
