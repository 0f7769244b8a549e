import { hostname } from 'node:os';
import { accountOf, changesFor, imageWords, type Specification } from '../container/index.js';
import { askedFor, writtenOption, type ContainerOptions, type PlannedMount } from '../options/index.js';
import { v1 } from '../protocol/index.js';
import type { Connection } from './connection.js';
import type { ImageParts } from './images.js';

const { KIND_TMPFS, KIND_DESCRIPTOR } = v1.BuildMount.Kind;

/**
 * Answers what a container of the asking user would be like.
 *
 * @throws BerthError what options and modules that make no sense stand for; BERTH_IMAGE_UNKNOWN and its like.
 */
export async function explain(
  request: v1.ExplainRequest,
  connection: Connection,
  { designer, store }: ImageParts,
): Promise<void> {
  const { uid, pid } = connection.peer;
  const asked = askedFor(request.options.map(writtenOption));
  const { options } = asked;
  const { gid, gids } = await accountOf(uid, []);
  const record = await store.resolve(request.image, uid, gids);
  const design = { uid, gid, gids, ...asked, jobId: 0, nodeName: hostname(), spoolDir: '' };
  const specification = await designer.design(design, pid, Promise.resolve(record));
  const image = imageWords(record.config);
  const environment = changesFor({ image, environment: specification.plan.environment }, options);
  connection.reply({
    explain: {
      image: record.name,
      digest: record.digest,
      workdir:
        options.workdir ?? (image.workdir === '' ? 'where it is called' : `where it is called, or ${image.workdir}`),
      mounts: [
        rootMount(record.name, specification, options),
        ...filesOf(specification),
        ...specification.plan.mounts.map(describeMount),
      ],
      environment: [
        ...environment.map(({ origin, message }) => ({ origin, change: message })),
        ...identity({
          BERTH_CONTAINER: "(the container's id)",
          BERTH_IMAGE: record.name,
          BERTH_IMAGE_DIGEST: record.digest,
        }),
      ],
    },
  });
}

/** What the plugin and the clients set, last of all. */
function identity(variables: Readonly<Record<string, string>>): v1.PlannedVariable.$Properties[] {
  const kind = v1.EnvironmentChange.Kind.KIND_SET;
  return Object.entries(variables).map(([name, value]) => ({ origin: 'berth', change: { kind, name, value } }));
}

function rootMount(source: string, { message }: Specification, options: ContainerOptions): v1.PlannedMount.$Properties {
  const writable = message.writable;
  const above = writable?.directory ? `written to ${writable.directory}` : `${writable?.size ?? 0} MiB to write`;
  return {
    kind: 'image',
    source,
    destination: '/',
    flags: [writable ? above : 'ro', ...(options.remapRoot ? ['root'] : [])],
    origin: options.writable ? '--container-writable' : 'berth',
  };
}

function filesOf({ message, plan }: Specification): v1.PlannedMount.$Properties[] {
  const origins = new Map(plan.files.map((file) => [file.message, file.origin]));
  return (message.files ?? []).map((file) => ({
    kind: file.target ? 'link' : 'file',
    source: file.target ?? '',
    destination: file.path ?? '',
    flags: file.appendImage ? ["followed by the image's"] : [],
    origin: origins.get(file) ?? 'berth',
  }));
}

function describeMount({ origin, message }: PlannedMount): v1.PlannedMount.$Properties {
  const { kind, source, destination, readOnly, shallow, propagation, size, optional } = message;
  const made = kind === KIND_DESCRIPTOR;
  return {
    kind: kind === KIND_TMPFS ? 'tmpfs' : made ? 'volume' : 'bind',
    source: source ?? '',
    destination: destination ?? '',
    flags: [
      readOnly ? 'ro' : 'rw',
      ...(shallow ? ['norec'] : []),
      ...(propagation === v1.BuildMount.Propagation.PROPAGATION_PRIVATE ? ['private'] : []),
      ...(size ? [`size=${size}M`] : []),
      ...(optional ? ['optional'] : []),
    ],
    origin,
    optional: optional ?? false,
  };
}
