import { BerthError } from '../../errors/index.js';
import { Modules, type Catalogue, type Entry } from '../../modules/index.js';
import { count, fail, pass, some, unknown, warn, type Check, type Context, type Verdict } from '../check.js';
import { ProbeFailure } from '../probe.js';

/** What the site's modules bring, as launches would find it. */
export const moduleChecks: readonly Check[] = [
  {
    id: 'modules',
    family: 'modules',
    reads: "the files of [modules] directory, and the host's MPI where one brings it",
    rule:
      'each is valid and root alone could have written it; what [modules] default and requires name is there. A failure ' +
      'where containers get the module unasked, a warning otherwise',
    matters: 'launches that would use the module fail',
    hint: 'docs/modules.md describes every key; files and the directories above them belong to root, mode 0644 and 0755',
    run: async (context) => {
      const modules = modulesOf(context);
      const catalogue = modules.catalogue();
      if (catalogue.fault) return fail(told(catalogue.fault));
      const faults = [...faultsOf(context, catalogue), ...(await mpiFaults(context, modules))];
      const [worst] = faults.filter(({ unasked }) => unasked);
      const texts = some(faults.map(({ text }) => text));
      if (faults.length > 0) return worst ? fail(texts) : warn(texts);
      return pass(count(catalogue.entries.size, 'module'));
    },
  },
  {
    id: 'cdi',
    family: 'modules',
    reads:
      'the specifications in [modules] cdi_directories, and whether the files and device nodes are there that they name',
    rule: 'they are valid, root alone could have written them, and all they name is there. A warning where no module uses them',
    matters: 'after an update of a driver they name libraries that are gone, and launches with the devices fail',
    hint: 'have the specification written anew, for NVIDIA: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml',
    run: checkCdi,
  },
];

interface Fault {
  readonly text: string;
  /** Would launches fail that ask for no module? */
  readonly unasked: boolean;
}

/** Kept, so that what has not changed is not read again. */
function modulesOf({ memory, config }: Context): Modules {
  return memory.get('modules', () => new Modules(config.modules));
}

function faultsOf({ config }: Context, { entries }: Catalogue): Fault[] {
  const isUnasked = ({ name, module }: Entry): boolean =>
    config.modules.default.includes(name) || (module !== undefined && module.automatic !== 'never');
  const own = [...entries.values()].flatMap((entry) => {
    const { name, module, fault } = entry;
    if (fault) return [{ text: told(fault), unasked: isUnasked(entry) }];
    const missing = (module?.requires ?? []).filter((needed) => !entries.has(needed));
    return missing.map((needed) => ({
      text: `${name} requires ${needed}, which is not there`,
      unasked: isUnasked(entry),
    }));
  });
  const absent = config.modules.default.filter((name) => !entries.has(name));
  return [
    ...own,
    ...absent.map((name) => ({ text: `[modules] default names ${name}, which is not there`, unasked: true })),
  ];
}

async function mpiFaults({ config }: Context, modules: Modules): Promise<Fault[]> {
  const found = await modules.mpiFaults();
  return found.map(({ module, why }) => {
    const unasked = config.modules.default.includes(module.name) || module.automatic !== 'never';
    return { text: `${module.name}: ${why}`, unasked };
  });
}

async function checkCdi(context: Context): Promise<Verdict> {
  const modules = modulesOf(context);
  const { specifications, faults } = await modules.cdiDevices();
  const kinds = new Set(
    [...modules.catalogue().entries.values()].flatMap(({ module }) => (module?.cdi ? [module.cdi.kind] : [])),
  );
  const broken = faults.map(({ kind, error }) => ({ kind, text: told(error) }));
  const stale: { kind: string; text: string }[] = [];
  try {
    for (const { kind, file, devices, edits } of specifications) {
      const all = [edits, ...devices.map((device) => device.edits)];
      const named = all.flatMap(({ mounts, deviceNodes }) =>
        [...mounts, ...deviceNodes].map(({ hostPath }) => hostPath),
      );
      const missing = await absentOf([...new Set(named)], context);
      if (missing.length > 0) stale.push({ kind, text: `${file} names what is not there: ${some(missing)}` });
    }
  } catch (error) {
    if (error instanceof ProbeFailure) return unknown(error.message);
    throw error;
  }
  const wrong = [...broken, ...stale];
  const texts = some(wrong.map(({ text }) => text));
  if (wrong.some(({ kind }) => kind !== undefined && kinds.has(kind))) return fail(texts);
  if (wrong.length > 0) return warn(texts);
  const unknownKinds = [...kinds].filter((kind) => !specifications.some((each) => each.kind === kind));
  if (unknownKinds.length > 0) return warn(`a module asks for ${some(unknownKinds)}, which no specification describes`);
  return pass(count(specifications.length, 'specification'));
}

/** Of the paths, those that are not there. */
async function absentOf(paths: readonly string[], { probe }: Context): Promise<string[]> {
  const missing: string[] = [];
  for (const path of paths) {
    try {
      await probe.stat(path);
    } catch (error) {
      if (!(error instanceof ProbeFailure) || error.code !== 'ENOENT') throw error;
      missing.push(path);
    }
  }
  return missing;
}

function told({ what, why }: BerthError): string {
  return `${what}: ${why}`;
}
