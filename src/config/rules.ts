import type { Config } from './keys.js';

/** A condition on more than one key. */
export interface Rule {
  /** The key that is reported, "[table] name". */
  readonly at: string;
  readonly broken: (config: Config) => boolean;
  readonly what: string;
  readonly why: string;
}

/** Of 127.0.0.0/8, or ::1. */
function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address.startsWith('[::1]:');
}

export const rules: readonly Rule[] = [
  {
    at: '[slurm] prepare',
    broken: ({ slurm }) => slurm.prepare && slurm.spoolDir === '',
    what: '[slurm] prepare is true without [slurm] spool_dir',
    why: "expected spool_dir to be the node's SlurmdSpoolDir: a prepared container must already hold it when the first step starts",
  },
  {
    at: '[store] files',
    broken: ({ store, container }) => store.files === 'fuse' && container.userns === 'off',
    what: '[store] files is "fuse" with [container] userns = "off"',
    why: 'a FUSE mount of the user\'s belongs to a user namespace: without one, use "rebuild" or "refuse"',
  },
  {
    at: '[events] listen',
    broken: ({ events }) => events.listen !== '' && events.tokenFile === '',
    what: '[events] listen without [events] token_file',
    why: 'expected a token: everybody who can connect would see what all users of the node do',
  },
  {
    at: '[events] listen',
    broken: ({ events }) => events.listen !== '' && !isLoopback(events.listen) && events.tlsCert === '',
    what: '[events] listen is not a loopback address, and there is no [events] tls_cert',
    why: 'expected tls_cert and tls_key: tokens would be readable by whoever can read the network',
  },
  {
    at: '[events] tls_cert',
    broken: ({ events }) => (events.tlsCert === '') !== (events.tlsKey === ''),
    what: 'only one of [events] tls_cert and tls_key',
    why: 'expected both, or neither',
  },
];
