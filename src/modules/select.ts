import { nearest } from '../config/index.js';
import { BerthError } from '../errors/index.js';
import type { Catalogue, Entry } from './catalogue.js';
import type { Automatic, Module } from './module.js';

/** What decides which modules a container has. */
export interface Choice {
  /** The user's: `none` for no module but those that the site makes mandatory. */
  readonly chosen: 'none' | readonly string[] | undefined;
  /** The site's for every container: [modules] default. */
  readonly defaults: readonly string[];
  /** Of the node, for messages. */
  readonly host: string;
  /** Does the condition of a module that is used by itself hold here, for this job? */
  readonly holds: (condition: Exclude<Automatic, 'never' | 'always'>) => Promise<boolean>;
}

/**
 * The modules of a container, in the order in which they apply.
 *
 * @throws BerthError BERTH_MODULE_UNKNOWN, BERTH_MODULE_CONFLICT, BERTH_MODULE_MISSING, BERTH_MODULE_ORDER; what is wrong
 * with the file of a module that would be used.
 */
export async function selectModules(catalogue: Catalogue, choice: Choice): Promise<Module[]> {
  const { chosen, defaults } = choice;
  const wanted = chosen === 'none' ? [] : [...defaults, ...(chosen ?? [])];
  const entries = new Map<string, Entry>();
  for (const entry of await automatic(catalogue, choice)) entries.set(entry.name, entry);
  for (const name of wanted) entries.set(name, find(catalogue, name, choice.host));
  const modules = [...entries.values()].map(moduleOf);
  checkTogether(modules);
  return inOrder(modules);
}

async function automatic({ entries }: Catalogue, { chosen, holds }: Choice): Promise<Entry[]> {
  const candidates = [...entries.values()].filter(({ module }) => chosen !== 'none' || module?.mandatory === true);
  const used = await Promise.all(
    candidates.map(async ({ module }) => {
      if (!module || module.automatic === 'never') return false;
      return module.automatic === 'always' || holds(module.automatic);
    }),
  );
  return candidates.filter((_, i) => used[i]);
}

function find(catalogue: Catalogue, name: string, host: string): Entry {
  const { directory, entries, fault } = catalogue;
  const entry = entries.get(name);
  if (entry) return entry;
  if (fault) throw fault;
  const near = nearest(name, entries.keys());
  const known =
    entries.size === 0
      ? 'the site has no modules here: leave --module out, or ask the site'
      : `there are ${[...entries.keys()].join(', ')}`;
  const hint = near === undefined ? known : `did you mean ${near}? ${known}`;
  throw new BerthError('BERTH_MODULE_UNKNOWN', { name, host, directory, hint });
}

/** A module whose file is at fault is not used, and neither is anything in its place. */
function moduleOf({ name, file, module, fault }: Entry): Module {
  if (fault) throw fault;
  if (!module) throw new Error(`${file}: the module ${name} was neither read nor refused`);
  return module;
}

function checkTogether(modules: readonly Module[]): void {
  const used = new Set(modules.map(({ name }) => name));
  for (const { name, conflicts, requires, file } of modules) {
    const other = conflicts.find((each) => used.has(each));
    if (other !== undefined) {
      throw new BerthError('BERTH_MODULE_CONFLICT', { first: name, second: other, why: `${file} says so` });
    }
    const missing = requires.find((each) => !used.has(each));
    if (missing !== undefined) throw new BerthError('BERTH_MODULE_MISSING', { name, needed: missing, file });
  }
}

/** Each after those that it names, and otherwise as they came. */
function inOrder(modules: readonly Module[]): Module[] {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const ordered = new Set<Module>();
  const add = (module: Module, way: readonly string[]): void => {
    if (ordered.has(module)) return;
    const circle = [...way, module.name];
    if (way.includes(module.name)) {
      throw new BerthError('BERTH_MODULE_ORDER', { name: module.name, circle: circle.join(', '), file: module.file });
    }
    for (const name of [...module.requires, ...module.after]) {
      const before = byName.get(name);
      if (before) add(before, circle);
    }
    ordered.add(module);
  };
  for (const module of modules) add(module, []);
  return [...ordered];
}
