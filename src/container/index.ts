export { ContainerBuilder, type Namespaces } from './builder.js';
export { containerKey, type Container, type ContainerRecord } from './container.js';
export { occupants, type Occupants } from './ranks.js';
export { Registry, remember } from './registry.js';
export { accountOf, specify, type Identity, type Specification } from './specification.js';
