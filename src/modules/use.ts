import { BerthError } from '../errors/index.js';
import type { JobDevices } from './job-devices.js';
import type { Module } from './module.js';
import type { Placeholders } from './placeholders.js';

/** A container that is to be built. */
export interface ModulesRequest extends Placeholders {
  /** Options' `modules`. */
  readonly chosen: 'none' | readonly string[] | undefined;
  /** The node's name, for messages. */
  readonly host: string;
  /** A process of the job: its cgroups say which devices the job may use. Undefined as long as there is none in these. */
  readonly pid: number | undefined;
}

/** A module that a container gets. */
export interface ModuleUse {
  readonly module: Module;
  readonly request: ModulesRequest;
  readonly devices: JobDevices;
}

/** Where a part of a container comes from, as `berth explain` shows it. */
export function originOf({ module }: Pick<ModuleUse, 'module'>): string {
  return `module ${module.name}`;
}

/** @returns BERTH_MODULE_HOST */
export function cannotUse({ module, request }: ModuleUse, why: string, cause?: unknown): BerthError {
  return new BerthError('BERTH_MODULE_HOST', { name: module.name, host: request.host, why }, { cause });
}
