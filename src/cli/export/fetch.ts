import { closeSync } from 'node:fs';
import { hostname } from 'node:os';
import { BerthError, reasonOf, RemoteError } from '../../errors/index.js';
import { native } from '../../native/index.js';
import { decodeReply, encodeRequest, frame } from '../../protocol/index.js';
import { imageView, type ImageView } from '../commands/images.js';

/** An image's file, open for reading. */
export interface OpenImage {
  readonly image: ImageView;
  /** The configuration it came with, as the OCI image specification has it. */
  readonly config: Readonly<Record<string, unknown>> | undefined;
  /** The caller closes it. */
  readonly file: number;
}

/**
 * Asks berthd for an image's file.
 *
 * @throws RemoteError the daemon's own error; BerthError BERTH_DAEMON_UNREACHABLE, BERTH_PROTOCOL_VERSION
 */
export async function fetchImage(reference: string, socket: string): Promise<OpenImage> {
  const request = frame(encodeRequest({ export: { reference } }));
  const { reply, descriptors } = await native.exchange(socket, request).catch((error: unknown) => {
    throw new BerthError('BERTH_DAEMON_UNREACHABLE', { socket, host: hostname(), why: reasonOf(error) });
  });
  const [file, ...more] = descriptors;
  more.forEach(closeSync);
  try {
    const { export: answer, error } = decodeReply(reply);
    if (error) {
      const { code, exitStatus, what, why, hint } = error;
      throw new RemoteError({
        code: code ?? '',
        exitStatus: exitStatus ?? 1,
        what: what ?? '',
        why: why ?? '',
        hint: hint ?? '',
      });
    }
    if (!answer || file === undefined) throw new BerthError('BERTH_PROTOCOL_FRAME', { why: 'no descriptor came' });
    return { image: imageView(answer.image ?? {}), config: parseConfig(answer.config ?? ''), file };
  } catch (error) {
    if (file !== undefined) closeSync(file);
    throw error;
  }
}

function parseConfig(text: string): OpenImage['config'] {
  if (text === '') return undefined;
  const value: unknown = JSON.parse(text);
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}
