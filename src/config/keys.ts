import type { Kind } from './kinds.js';
import { container } from './tables/container.js';
import { daemon } from './tables/daemon.js';
import { events } from './tables/events.js';
import { health } from './tables/health.js';
import { modules } from './tables/modules.js';
import { slurm } from './tables/slurm.js';
import { store } from './tables/store.js';
import { volumes } from './tables/volumes.js';

/**
 * Every key of berth.toml. The reader, the type {@link Config}, `berth config show` and docs/configuration.md all
 * follow from these rows: a new key is one more row.
 */
export const keys = { daemon, store, container, volumes, modules, slurm, health, events } as const satisfies Record<
  string,
  Record<string, Kind<unknown>>
>;

type Keys = typeof keys;

type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

type ValueOf<K> = K extends Kind<infer T> ? T : never;

/** A valid configuration: a member for each table, in it a member for each key, in camel case. */
export type Config = {
  readonly [T in keyof Keys]: {
    readonly [K in keyof Keys[T] & string as CamelCase<K>]: ValueOf<Keys[T][K]>;
  };
};

/** A row of the table with its place. */
export interface Key {
  readonly table: string;
  readonly name: string;
  /** As messages show it: "[store] path". */
  readonly title: string;
  readonly kind: Kind<unknown>;
}

/** The table as a list, in its own order. */
export const allKeys: readonly Key[] = Object.entries(keys).flatMap(([table, rows]) =>
  Object.entries<Kind<unknown>>(rows).map(([name, kind]) => ({ table, name, title: `[${table}] ${name}`, kind })),
);

export function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}
