import { BerthError } from '../errors/index.js';

export { hasProved, isShared, mayUseImage, prove, type Person, type Protected, type Proved } from './images.js';

/** Who asks, as the kernel says (SO_PEERCRED). */
export interface Peer {
  readonly uid: number;
}

/**
 * What only slurmstepd, the prolog and the epilog may ask for: they speak in other users' names.
 *
 * @throws BerthError BERTH_NOT_PERMITTED
 */
export function requireRoot(peer: Peer, what: string): void {
  if (peer.uid === 0) return;
  throw new BerthError('BERTH_NOT_PERMITTED', {
    what,
    uid: peer.uid,
    why: 'only Slurm itself, as root, may ask for it',
    hint: 'use srun --image=NAME, or berth exec for a container of your own',
  });
}

/** May this peer see, and enter, what belongs to `owner`? */
export function mayUse(peer: Peer, owner: { readonly uid: number }): boolean {
  return peer.uid === 0 || peer.uid === owner.uid;
}

/**
 * May this user run containers without Slurm?
 *
 * @param rule [container] run of the configuration
 * @throws BerthError BERTH_NOT_PERMITTED
 */
export function requireRunning(peer: Peer, rule: 'root' | 'anyone'): void {
  if (peer.uid === 0 || rule === 'anyone') return;
  throw new BerthError('BERTH_NOT_PERMITTED', {
    what: 'running a container without Slurm',
    uid: peer.uid,
    why: 'the site has set [container] run = "root"',
    hint: 'let Slurm start it: srun --image=NAME COMMAND',
  });
}

/**
 * May this user pull images?
 *
 * @param rule [store] pull of the configuration
 * @throws BerthError BERTH_NOT_PERMITTED
 */
export function requirePulling(peer: Peer, rule: 'root' | 'anyone'): void {
  if (peer.uid === 0 || rule === 'anyone') return;
  throw new BerthError('BERTH_NOT_PERMITTED', {
    what: 'pulling images',
    uid: peer.uid,
    why: 'the site has set [store] pull = "root"',
    hint: 'ask the site to pull the image, or to set [store] pull = "anyone"',
  });
}

/**
 * May this peer add images, and for whom?
 *
 * @param rule [store] import of the configuration
 * @returns whose names the image goes under
 * @throws BerthError BERTH_NOT_PERMITTED
 */
export function importScope(peer: Peer, rule: 'root' | 'anyone'): 'site' | number {
  if (peer.uid === 0) return 'site';
  if (rule === 'anyone') return peer.uid;
  throw new BerthError('BERTH_NOT_PERMITTED', {
    what: 'adding images to the store',
    uid: peer.uid,
    why: 'the site has set [store] import = "root"',
    hint: 'ask the site to import the image, or to set [store] import = "anyone"',
  });
}
