import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { toErrorMessage } from '../../src/errors/index.js';
import { ImageStore, type ImageRecord } from '../../src/image/index.js';
import { native } from '../../src/native/index.js';
import { descriptorOf } from './helpers/caller.js';
import {
  decodeRequest,
  encodeError,
  encodeReply,
  frame,
  FrameReader,
  REQUEST_LIMIT,
} from '../../src/protocol/index.js';

/** The importing half of a daemon: the real store behind the real protocol. */
export async function serveImports(path: string, store: ImageStore): Promise<Server> {
  const server = createServer((socket) => {
    serve(socket, store);
  });
  server.listen(path);
  await once(server, 'listening');
  return server;
}

function serve(socket: Socket, store: ImageStore): void {
  const reader = new FrameReader(REQUEST_LIMIT);
  const end: { whole?: () => void; gone?: (error: Error) => void } = {};
  const complete = new Promise<void>((resolve, reject) => {
    end.whole = resolve;
    end.gone = reject;
  });
  complete.catch(() => undefined);
  const answer = (work: Promise<Uint8Array>): void => {
    work.then(
      (reply) => socket.write(frame(reply)),
      (error: unknown) => socket.write(frame(encodeError(toErrorMessage(error)))),
    );
  };
  socket.on('error', () => undefined);
  socket.on('close', () => end.gone?.(new Error('it closed the connection')));
  socket.on('data', (chunk: Buffer) => {
    for (const bytes of reader.push(chunk)) {
      const request = decodeRequest(bytes);
      if (request.importEnd) end.whole?.();
      if (request.images) answer(listImages(store));
      if (request.import) {
        const { name, source, sourceFd } = request.import;
        const { pid, pidfd, uid } = native.peerCredentials(descriptorOf(socket));
        const archive = native.pipeOf(pid, pidfd, sourceFd ?? -1, uid);
        native.close(pidfd);
        answer(
          store
            .importTar({ name: name ?? '', owner: 'site', source: source ?? '', complete }, archive)
            .then((record) => encodeReply({ import: { image: message(record) } })),
        );
      }
    }
  });
}

async function listImages(store: ImageStore): Promise<Uint8Array> {
  return encodeReply({ images: { images: (await store.list(0)).map(message) } });
}

function message({ name, digest, size, created, source, owner, format }: ImageRecord) {
  return { name, digest, size: String(size), created, source, owner: String(owner), format };
}
