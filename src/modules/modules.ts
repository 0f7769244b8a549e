import { BerthError } from '../errors/index.js';
import type { AccountLines, Contribution } from '../options/index.js';
import { accountsOf } from './accounts.js';
import { cdiOf } from './cdi/contribution.js';
import { CdiRegistry, type CdiDevices } from './cdi/registry.js';
import { CatalogueReader, type Catalogue } from './catalogue.js';
import { environmentOf, filesOf, mountsOf } from './contribute.js';
import { matches } from './glob.js';
import type { Afterwards } from './inside.js';
import { JobDevices } from './job-devices.js';
import type { Automatic, Module } from './module.js';
import { mpiOf } from './mpi/contribution.js';
import { HostFault, HostMpiFinder } from './mpi/host.js';
import { selectModules } from './select.js';
import { cannotUse, type ModulesRequest, type ModuleUse } from './use.js';

/** What the site has configured: [modules] of berth.toml. */
export interface ModulesConfig {
  readonly directory: string;
  /** Modules of every container. */
  readonly default: readonly string[];
  readonly cdiDirectories: readonly string[];
}

/** What the modules of a container add to it. */
export interface ModulesContribution extends Contribution, Afterwards {
  /** Of the modules, in the order in which they apply. */
  readonly names: readonly string[];
  readonly accounts: AccountLines;
}

/** The site's modules, and what they add to containers. */
export class Modules {
  readonly #reader: CatalogueReader;
  readonly #mpi = new HostMpiFinder();
  readonly #cdi: CdiRegistry;

  constructor(private readonly config: ModulesConfig) {
    this.#reader = new CatalogueReader(config.directory);
    this.#cdi = new CdiRegistry(config.cdiDirectories);
  }

  /** What the directory holds now, faults included. */
  catalogue(): Catalogue {
    return this.#reader.current();
  }

  /** What the CDI specifications describe now, faults included. */
  cdiDevices(): Promise<CdiDevices> {
    return this.#cdi.current();
  }

  /** The sound modules whose MPI of the host is not there, or not whole, and why. */
  async mpiFaults(): Promise<{ readonly module: Module; readonly why: string }[]> {
    const faults: { readonly module: Module; readonly why: string }[] = [];
    for (const { module, fault } of this.catalogue().entries.values()) {
      if (fault || !module?.mpi) continue;
      try {
        await this.#mpi.find(module.mpi);
      } catch (error) {
        if (!(error instanceof HostFault)) throw error;
        faults.push({ module, why: error.message });
      }
    }
    return faults;
  }

  /**
   * @throws BerthError BERTH_MODULE_FILE, BERTH_MODULE_UNSAFE, BERTH_MODULE_UNKNOWN, BERTH_MODULE_CONFLICT,
   * BERTH_MODULE_MISSING, BERTH_MODULE_ORDER, BERTH_MODULE_HOST, BERTH_CDI_SPECIFICATION,
   * BERTH_JOB_DEVICES; AskedTooEarly where that matters and there is no process of the job.
   */
  async contribute(request: ModulesRequest): Promise<ModulesContribution> {
    const { chosen, host, pid } = request;
    const devices = new JobDevices({ pid, host });
    const modules = await selectModules(this.#reader.current(), {
      chosen,
      defaults: this.config.default,
      host,
      holds: (condition) => holds(condition, devices),
    });
    const uses = modules.map((module) => ({ module, request, devices }));
    const parts = await Promise.all(uses.map((use) => this.#contributionOf(use)));
    const mounts = parts.flatMap((part) => part.mounts);
    const files = parts.flatMap((part) => part.files);
    return {
      names: modules.map(({ name }) => name),
      accounts: {
        passwd: parts.map(({ accounts }) => accounts.passwd).join(''),
        group: parts.map(({ accounts }) => accounts.group).join(''),
      },
      mounts: withoutRepeats(
        mounts,
        ({ destination }) => destination,
        ({ source }) => source,
      ),
      files: withoutRepeats(
        files,
        ({ path }) => path,
        (file) => `${file.target ?? ''}\n${String(file.content)}`,
      ),
      environment: parts.flatMap((part) => part.environment),
      checks: parts.flatMap((part) => part.checks),
      hooks: parts.flatMap((part) => part.hooks),
    };
  }

  async #contributionOf(use: ModuleUse): Promise<Omit<ModulesContribution, 'names'>> {
    const { cdi, mpi } = use.module;
    await checkDevices(use);
    const [accounts, mounts, files, fromCdi, fromMpi] = await Promise.all([
      accountsOf(use),
      mountsOf(use),
      filesOf(use),
      cdi ? cdiOf(use, cdi, this.#cdi) : undefined,
      mpi ? mpiOf(use, mpi, this.#mpi) : undefined,
    ]);
    return {
      accounts,
      mounts: [...mounts, ...(fromCdi?.mounts ?? []), ...(fromMpi?.mounts ?? [])],
      files: [...files, ...(fromCdi?.files ?? [])],
      // The module's own words come last: they count.
      environment: [...(fromCdi?.environment ?? []), ...(fromMpi?.environment ?? []), ...environmentOf(use)],
      checks: fromMpi?.checks ?? [],
      hooks: fromCdi?.hooks ?? [],
    };
  }
}

async function holds(condition: Exclude<Automatic, 'never' | 'always'>, devices: JobDevices): Promise<boolean> {
  if ('path' in condition) return (await matches(condition.path)).length > 0;
  const nodes = await matches(condition.device);
  return nodes.length > 0 && (await devices.granted(nodes)).size > 0;
}

/** Without them the program would say what is wrong in words of its own, or hang. */
async function checkDevices(use: ModuleUse): Promise<void> {
  for (const pattern of use.module.devices) {
    const nodes = await matches(pattern);
    if (nodes.length === 0) throw cannotUse(use, `there is no ${pattern}`);
    const granted = await use.devices.granted(nodes);
    if (granted.size === 0) throw cannotUse(use, `the job was given none of ${pattern}`);
  }
}

/**
 * Without what comes twice.
 *
 * @throws BerthError BERTH_MODULE_CONFLICT where two modules have different things for one place.
 */
function withoutRepeats<T>(
  all: readonly { readonly origin: string; readonly message: T }[],
  placeOf: (message: T) => string | null | undefined,
  thingOf: (message: T) => string | null | undefined,
): { readonly origin: string; readonly message: T }[] {
  const byPlace = new Map<string, { readonly origin: string; readonly message: T }>();
  for (const each of all) {
    const place = placeOf(each.message) ?? '';
    const before = byPlace.get(place);
    if (!before) byPlace.set(place, each);
    else if (thingOf(before.message) !== thingOf(each.message)) {
      const [first, second] = [before, each].map(({ origin }) => origin.replace(/^module /, ''));
      throw new BerthError('BERTH_MODULE_CONFLICT', {
        first: first ?? '',
        second: second ?? '',
        why: `both have something for ${place} in the container`,
      });
    }
  }
  return [...byPlace.values()];
}
