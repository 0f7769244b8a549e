import { request } from 'node:http';
import { hostname } from 'node:os';
import { BerthError, reasonOf, RemoteError } from '../../errors/index.js';

/** How long, in milliseconds, berthd may take: nothing that it is asked for here waits for a disk or a server for long. */
export const ANSWER_LIMIT = 10_000;

/** Longest answer that is taken, in bytes. */
const MOST_ANSWER = 64 * 1024 * 1024;

/**
 * Asks berthd for a document over HTTP, on its own socket.
 *
 * @param limit milliseconds that it may take.
 * @throws BerthError BERTH_DAEMON_UNREACHABLE; RemoteError what berthd says.
 */
export async function askForText(socket: string, path: string, limit = ANSWER_LIMIT): Promise<string> {
  const { status, body } = await get(socket, path, limit);
  if (status === 200) return body;
  const error: Error = errorIn(body) ?? unreachable(socket, `it answered ${path} with status ${status}`);
  throw error;
}

/** @throws BerthError as {@link askForText} */
export async function askForDocument(socket: string, path: string): Promise<unknown> {
  const text = await askForText(socket, path);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw unreachable(socket, `its answer to ${path} is not JSON: ${reasonOf(error)}`);
  }
}

/** The error in an answer; undefined for one that has none. */
export function errorIn(body: string): RemoteError | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined;
  }
  const error: unknown = typeof value === 'object' && value !== null && 'error' in value ? value.error : undefined;
  if (typeof error !== 'object' || error === null) return undefined;
  const fields: Partial<Record<string, unknown>> = { ...error };
  const text = (name: string): string => (typeof fields[name] === 'string' ? fields[name] : '');
  const exitStatus = typeof fields['exitStatus'] === 'number' ? fields['exitStatus'] : 1;
  return new RemoteError({ code: text('code'), exitStatus, what: text('what'), why: text('why'), hint: text('hint') });
}

export function unreachable(socket: string, why: string): BerthError {
  return new BerthError('BERTH_DAEMON_UNREACHABLE', { socket, host: hostname(), why });
}

/** Why nothing came of a connection that berthd took. */
export function saidNothing(limit: number): string {
  return `it took the connection and gave no answer for ${limit / 1000} s`;
}

function get(socket: string, path: string, limit: number): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const late = AbortSignal.timeout(limit);
    const fail = (error: Error): void => {
      reject(unreachable(socket, late.aborted ? saidNothing(limit) : reasonOf(error)));
    };
    const asking = request({ path, socketPath: socket, agent: false, signal: late });
    asking.once('error', fail);
    asking.once('response', (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
        if (body.length > MOST_ANSWER) asking.destroy(new Error('its answer has no end'));
      });
      response.once('error', fail);
      response.once('end', () => {
        resolve({ status: response.statusCode ?? 0, body });
      });
    });
    asking.end();
  });
}
