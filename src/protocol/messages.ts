import { hostname } from 'node:os';
import { BerthError, type ErrorMessage, reasonOf } from '../errors/index.js';
import { berth } from './generated/berth.js';
import { version } from './version.js';

export import v1 = berth.v1;

/** The protocol version this build speaks (proto/berth.proto, enum Protocol). */
export const PROTOCOL: number = v1.Protocol.PROTOCOL_CURRENT;

type RequestBody = Omit<v1.Request.$Properties, 'protocol' | 'version'>;
type ReplyBody = Omit<v1.Reply.$Properties, 'protocol' | 'version' | 'error'>;

export function encodeRequest(body: RequestBody): Uint8Array {
  return v1.Request.encode({ protocol: PROTOCOL, version, ...body }).finish();
}

export function encodeReply(body: ReplyBody): Uint8Array {
  return v1.Reply.encode({ protocol: PROTOCOL, version, ...body }).finish();
}

export function encodeError(error: ErrorMessage): Uint8Array {
  const { code, exitStatus, what, why, hint } = error;
  return v1.Reply.encode({
    protocol: PROTOCOL,
    version,
    // The bounds that C reads these strings into: proto/berth.options.
    error: { code: cut(code, 47), exitStatus, what: cut(what, 1023), why: cut(why, 1023), hint: cut(hint, 511) },
  }).finish();
}

/**
 * @throws BerthError BERTH_PROTOCOL_FRAME for bytes that are not a request, BERTH_PROTOCOL_VERSION for one of another
 * protocol version.
 */
export function decodeRequest(bytes: Uint8Array): v1.Request {
  let request: v1.Request | undefined;
  let fault: unknown;
  try {
    request = v1.Request.decode(bytes);
  } catch (error) {
    fault = error;
  }
  const spoken = request?.protocol ?? protocolOf(bytes);
  if (request && spoken === PROTOCOL) return request;
  if (!request && (spoken === undefined || spoken === PROTOCOL)) throw unreadable(fault);
  throw new BerthError('BERTH_PROTOCOL_VERSION', {
    client: request?.version || 'unknown',
    client_protocol: spoken ?? 0,
    host: hostname(),
    daemon: version,
    daemon_protocol: PROTOCOL,
  });
}

/** Field 1 of a message that cannot be read otherwise: of another version, the rest need not be readable. */
function protocolOf(bytes: Uint8Array): number | undefined {
  const [tag, value = 0] = bytes;
  return tag === 0x08 && value > 0 && value < 0x80 ? value : undefined;
}

/** As {@link decodeRequest}, at the client's end. An error reply is returned whatever its version: its layout is fixed. */
export function decodeReply(bytes: Uint8Array): v1.Reply {
  let reply: v1.Reply;
  try {
    reply = v1.Reply.decode(bytes);
  } catch (error) {
    throw unreadable(error);
  }
  if (reply.protocol !== PROTOCOL && !reply.error) {
    throw new BerthError('BERTH_PROTOCOL_VERSION', {
      client: version,
      client_protocol: PROTOCOL,
      host: hostname(),
      daemon: reply.version || 'unknown',
      daemon_protocol: reply.protocol,
    });
  }
  return reply;
}

function unreadable(cause: unknown): BerthError {
  const why = reasonOf(cause);
  return new BerthError('BERTH_PROTOCOL_FRAME', { why: `a frame could not be read: ${why}` }, { cause });
}

/** Shortens to at most `bytes` bytes of UTF-8 without cutting a character. */
function cut(text: string, bytes: number): string {
  const buffer = Buffer.from(text);
  if (buffer.length <= bytes) return text;
  let end = bytes;
  while (end > 0 && ((buffer[end] ?? 0) & 0xc0) === 0x80) end--;
  return buffer.subarray(0, end).toString();
}
