/**
 * The room for modules: what a site lets jobs bring into their containers (/etc/berth/modules.d), its devices through CDI,
 * and its MPI. docs/modules.md is for administrators.
 */
export { Modules, type ModulesConfig, type ModulesContribution } from './modules.js';
export { Table, type Form } from './table.js';
export { Document, NotToml, type Problem } from './toml.js';
export { fillIn } from './placeholders.js';
export { AskedTooEarly } from './job-devices.js';
export type { Catalogue, Entry } from './catalogue.js';
export type { CdiDevices } from './cdi/registry.js';
export type { CdiHook } from './cdi/specification.js';
export type { Afterwards, ContainerCheck, Inside } from './inside.js';
export type { Automatic, Module } from './module.js';
export type { ModulesRequest } from './use.js';
