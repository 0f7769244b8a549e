import { Socket } from 'node:net';
import { hostname } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { BerthError, reasonOf } from '../errors/index.js';
import { builderExecutable, isNativeError, native, type Builder } from '../native/index.js';
import { frame, FrameReader, v1 } from '../protocol/index.js';
import type { Specification } from './specification.js';

/** Longest event of the builder, in bytes. */
const EVENT_LIMIT = 8 * 1024;

/**
 * When to look whether an ended builder can be reaped, in milliseconds from one look to the next; the last is for one
 * that a hanging file system keeps from dying.
 */
const REAP_DELAYS = [1, 5, 20, 100, 500, 2000, 60_000];

/** What {@link build} hands on, still open: the caller pins it and closes it. */
export interface Namespaces {
  readonly mount: number;
  readonly user: number | undefined;
}

/**
 * Lets the builder put a container together and calls `keep` with its namespaces while they are still alive.
 *
 * @param imageMount the detached image mount; stays the caller's
 * @param caller a pidfd of the process whose mount namespace is the starting point; stays the caller's
 * @param timeout in milliseconds
 * @param executable the builder
 * @throws BerthError BERTH_BUILD_TIMEOUT, or what the builder's failing step stands for.
 */
export async function build(
  specification: Specification,
  imageMount: number,
  caller: number,
  timeout: number,
  keep: (namespaces: Namespaces) => void,
  executable = builderExecutable,
): Promise<void> {
  const builder = native.spawnBuilder(executable, imageMount, caller);
  const socket = new Socket({ fd: builder.socket, readable: true, writable: true });
  const state = { late: false };
  const timer = setTimeout(() => {
    state.late = true;
    native.signal(builder.pidfd, 9);
    // A builder that waits for a file system may not die of it: the launch does not wait for that.
    socket.destroy();
  }, timeout);
  try {
    await converse(socket, builder, specification, imageMount, keep);
  } catch (error) {
    if (state.late) throw timedOut(timeout);
    throw error;
  } finally {
    clearTimeout(timer);
    socket.destroy();
    void reap(builder);
  }
}

async function converse(
  socket: Socket,
  builder: Builder,
  specification: Specification,
  imageMount: number,
  keep: (namespaces: Namespaces) => void,
): Promise<void> {
  socket.write(frame(v1.BuildSpec.encode(specification.message).finish()));
  const reader = new FrameReader(EVENT_LIMIT);
  let user: number | undefined;
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      for (const bytes of reader.push(chunk)) {
        const event = v1.BuildEvent.decode(bytes);
        switch (event.kind) {
          case v1.BuildEvent.Kind.KIND_USER_NAMESPACE:
            user = mapIds(builder, specification, imageMount);
            break;
          case v1.BuildEvent.Kind.KIND_BUILT: {
            const namespaces = { mount: native.openNamespace(builder.pid, builder.pidfd, 'mnt'), user };
            user = undefined;
            keep(namespaces);
            socket.end('.');
            return;
          }
          default:
            throw buildError(event, specification);
        }
        socket.write('.');
      }
    }
  } catch (error) {
    if (error instanceof BerthError) throw error;
    const why = reasonOf(error);
    throw new BerthError('BERTH_BUILD_FAILED', { host: hostname(), why }, { cause: error });
  } finally {
    if (user !== undefined) native.close(user);
  }
  throw new BerthError('BERTH_BUILD_FAILED', {
    host: hostname(),
    why: 'the builder ended before the container was ready',
  });
}

/** Root's part in the middle of the build. Returns the user namespace. */
function mapIds(builder: Builder, specification: Specification, imageMount: number): number {
  const user = native.openNamespace(builder.pid, builder.pidfd, 'user');
  try {
    native.writeIdMaps(builder.pid, builder.pidfd, specification.uidMap, specification.gidMap);
    if (specification.mapsImage) native.idmapMount(imageMount, user);
    return user;
  } catch (error) {
    native.close(user);
    if (isNativeError(error) && error.object !== 'MOUNT_ATTR_IDMAP') {
      throw new BerthError(
        'BERTH_IDENTITY',
        { uid: specification.message.uid ?? 0, why: error.message },
        { cause: error },
      );
    }
    throw error;
  }
}

/** What a user would call the step in which the builder failed. */
function buildError(event: v1.BuildEvent, specification: Specification): BerthError {
  const why = `${event.call}: ${event.object}: ${getSystemErrorName(-event.errorNumber)}`;
  switch (event.step) {
    case v1.BuildStep.BUILD_STEP_NAMESPACE:
      if (event.call === 'unshare') return new BerthError('BERTH_NAMESPACES_FORBIDDEN', { why });
      break;
    case v1.BuildStep.BUILD_STEP_CREDENTIALS:
      return new BerthError('BERTH_IDENTITY', { uid: specification.message.uid ?? 0, why });
    case v1.BuildStep.BUILD_STEP_MOUNT_SOURCE:
      return new BerthError('BERTH_MOUNT_SOURCE', { path: event.object, why });
    case v1.BuildStep.BUILD_STEP_MOUNT_DESTINATION:
      return new BerthError('BERTH_MOUNT_DESTINATION', { path: event.object, why });
    default:
  }
  return new BerthError('BERTH_BUILD_FAILED', { host: hostname(), why });
}

function timedOut(timeout: number): BerthError {
  return new BerthError('BERTH_BUILD_TIMEOUT', {
    host: hostname(),
    seconds: timeout / 1000,
    why: 'the builder was waiting for the kernel, as for a file system that does not answer',
  });
}

/** Takes the ended child off the process table. It ends by itself: our end of its socket is closed. */
async function reap(builder: Builder): Promise<void> {
  for (let look = 0; !native.reap(builder.pidfd); look++) {
    const delay = REAP_DELAYS[Math.min(look, REAP_DELAYS.length - 1)] ?? 0;
    await new Promise((resolve) => setTimeout(resolve, delay).unref());
    if (delay >= 100) native.signal(builder.pidfd, 9);
  }
  native.close(builder.pidfd);
}
