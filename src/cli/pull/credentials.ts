import { existsSync, mkdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { BerthError } from '../../errors/index.js';
import { usage } from '../arguments.js';
import { explain, faultOf, sentence } from './explain.js';
import { runSkopeo, SkopeoError } from './skopeo.js';

/**
 * The file that credentials go to: the one that was given; podman's, which lives as long as the user's session on this
 * host; or, where there is no such session, one in the home directory, which skopeo reads too.
 */
export function authfileFor(
  given: string | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string {
  const chosen = given ?? env['REGISTRY_AUTH_FILE'];
  if (chosen !== undefined && chosen !== '') return chosen;
  const runtime = env['XDG_RUNTIME_DIR'];
  if (runtime !== undefined && runtime !== '' && isDirectory(runtime)) return join(runtime, 'containers', 'auth.json');
  const config = env['XDG_CONFIG_HOME'] ?? '';
  return join(config === '' ? join(env['HOME'] ?? homedir(), '.config') : config, 'containers', 'auth.json');
}

/**
 * Reads a registry's name, as users give it.
 *
 * @throws BerthError BERTH_USAGE
 */
export function parseRegistry(text: string, command: string): string {
  const registry = text.replace(/^(?:docker|https):\/\//, '').replace(/\/$/, '');
  if (/^[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?(?:\/[a-z0-9][a-z0-9._/-]*)?$/.test(registry)) return registry;
  throw usage(`${text} is not a registry`, 'a registry is HOST[:PORT], such as docker.io or ghcr.io', command);
}

export interface Login {
  readonly registry: string;
  readonly user: string;
  readonly password: string;
  readonly authfile: string;
  readonly tlsVerify: boolean;
}

/**
 * Tries credentials at a registry and keeps them. The password goes through a pipe.
 *
 * @throws BerthError BERTH_REGISTRY_…, BERTH_PULL_TOOL; the signal's reason
 */
export async function logIn(login: Login, signal: AbortSignal): Promise<void> {
  const { registry, user, password, authfile, tlsVerify } = login;
  mkdirSync(dirname(authfile), { recursive: true, mode: 0o700 });
  const tls = tlsVerify ? [] : ['--tls-verify=false'];
  const argv = ['login', `--username=${user}`, '--password-stdin', '--authfile', authfile, ...tls, registry];
  try {
    await runSkopeo(argv, signal, { input: password });
  } catch (error) {
    throw failure(error, registry, 'it does not take this user name with this password');
  }
}

/**
 * Forgets the credentials for a registry.
 *
 * @throws BerthError BERTH_REGISTRY_LOGIN when there are none; BERTH_PULL_TOOL; the signal's reason
 */
export async function logOut(registry: string, authfile: string, signal: AbortSignal): Promise<void> {
  try {
    await runSkopeo(['logout', '--authfile', authfile, registry], signal);
  } catch (error) {
    if (error instanceof SkopeoError && (/not logged in/i.test(error.message) || !existsSync(authfile))) {
      throw usage(`you are not logged in to ${registry}`, `${authfile} has no credentials for it`, 'logout');
    }
    throw failure(error, registry, 'the credentials could not be removed');
  }
}

function failure(error: unknown, registry: string, refused: string): unknown {
  if (!(error instanceof SkopeoError)) return error;
  const fault = faultOf(error);
  if (fault === 'tls' || fault === 'unreachable' || fault === 'busy') return explain(error, { name: '', registry });
  const why = fault === 'denied' ? refused : sentence(error.message);
  return new BerthError('BERTH_REGISTRY_LOGIN', { registry, why }, { cause: error });
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
