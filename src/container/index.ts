export { ContainerBuilder, type Namespaces, type Serve } from './builder.js';
export { containerKey, type Container, type ContainerRecord } from './container.js';
export { ImageServer, type ServerRecord } from './image-server.js';
export { occupants, type Occupants } from './ranks.js';
export { Registry, remember } from './registry.js';
export { accountOf, specify, type Identity, type Specification } from './specification.js';
