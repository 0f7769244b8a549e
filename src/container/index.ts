export { closeNamespaces, ContainerBuilder, type Namespaces, type Serve } from './builder.js';
export { Builders } from './builders.js';
export { containerKey, type Container, type ContainerRecord } from './container.js';
export { ImageServer, type ServerRecord } from './image-server.js';
export { entrypointFiles } from './entrypoint.js';
export { changesFor, imageWords, interiorMessage, PLAIN_INTERIOR, type ImageWords, type Interior } from './interior.js';
export { type PreparedVolume } from './plan.js';
export { occupants, type Occupants } from './ranks.js';
export { Registry, remember } from './registry.js';
export { launchReply } from './reply.js';
export {
  accountOf,
  NOTHING_WANTED,
  ownerOf,
  specify,
  type Identity,
  type Owner,
  type Specification,
  type Wanted,
} from './specification.js';
export { findSquashfuse, SQUASHFUSE, SQUASHFUSE_PLACES } from './squashfuse.js';
