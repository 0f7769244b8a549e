import { usage } from '../arguments.js';
import type { Call, Option } from '../command.js';

export const authfileOption: Option = {
  name: 'authfile',
  value: 'FILE',
  description:
    'Credentials are in this file, instead of $XDG_RUNTIME_DIR/containers/auth.json (berth login, podman login), ' +
    '~/.config/containers/auth.json or ~/.docker/config.json (docker login).',
};

export const tlsVerifyOption: Option = {
  name: 'tls-verify',
  value: 'true|false',
  description:
    'false: take any certificate of the registry, and plain HTTP too, so that anybody on the way can read along.',
};

/** @throws BerthError BERTH_USAGE */
export function tlsVerifyOf({ value }: Call, command: string): boolean {
  const given = value('tls-verify') ?? 'true';
  if (given !== 'true' && given !== 'false')
    throw usage(`--tls-verify was given ${given}`, 'it is true or false', command);
  return given === 'true';
}
