import type { v1 } from '../protocol/index.js';

/**
 * A part of what a container consists of, and who put it there: "berth", "site", "image", "module NAME", or the option as
 * the user wrote it. `berth explain` shows it.
 */
export interface Planned<T> {
  readonly origin: string;
  readonly message: T;
}

export type PlannedMount = Planned<v1.BuildMount.$Properties>;
export type PlannedFile = Planned<v1.BuildFile.$Properties>;
export type PlannedChange = Planned<v1.EnvironmentChange.$Properties>;

/** Of users and groups who have to have names in a container: lines of passwd(5), and of group(5). */
export interface AccountLines {
  readonly passwd: string;
  readonly group: string;
}

/** What a site, a module or a user adds to a container. */
export interface Contribution {
  readonly mounts: readonly PlannedMount[];
  readonly files: readonly PlannedFile[];
  /** Applied in this order. */
  readonly environment: readonly PlannedChange[];
}
