import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { BerthError } from '../../errors/index.js';
import type { Subject } from './explain.js';
import type { Blob } from './manifest.js';
import type { Platform } from './platform.js';
import { runSkopeo } from './skopeo.js';

/** Where an image is and how it was read. */
export interface Place {
  /** As the user named it: what was signed is a name. */
  readonly reference: string;
  /** Options of skopeo's besides credentials, without "src-". */
  readonly flags: readonly string[];
  readonly everyone: boolean;
  readonly authfile: string | undefined;
}

interface Checked {
  readonly manifest: { readonly digest: string };
  readonly layers: readonly Blob[];
}

/**
 * Has skopeo decide whether the policy for signatures allows an image. Its image proxy does not ask (before version
 * 0.2.6), and neither does `skopeo inspect`; `skopeo copy` does, before it copies anything. So the image is copied to a
 * layout that seems to have all its layers: only manifest and configuration come.
 *
 * @throws BerthError BERTH_PULL_FAILED when the name has come to mean another image; SkopeoError
 */
export async function checkPolicy(
  { reference, flags, everyone, authfile }: Place,
  { manifest, layers }: Checked,
  { os, architecture, variant }: Platform,
  { name }: Subject,
  signal: AbortSignal,
): Promise<void> {
  if (acceptsAnything()) return;
  const directory = await mkdtemp(join(tmpdir(), 'berth-policy-'));
  try {
    const blobs = join(directory, 'blobs');
    await mkdir(join(blobs, 'sha256'), { recursive: true });
    for (const { digest } of layers) closeSync(openSync(join(blobs, digest.replace(':', '/')), 'w', 0o600));
    const platform = ['--override-os', os, '--override-arch', architecture];
    const credentials = everyone ? ['--src-no-creds'] : authfile === undefined ? [] : ['--src-authfile', authfile];
    await runSkopeo(
      [
        ...[...platform, ...(variant === undefined ? [] : ['--override-variant', variant])],
        ...['copy', '--quiet', '--preserve-digests', '--dest-shared-blob-dir', blobs],
        ...[...flags.map((flag) => flag.replace(/^--/, '--src-')), ...credentials],
        ...[reference, `oci:${join(directory, 'layout')}:checked`],
      ],
      signal,
    );
    const index = await readFile(join(directory, 'layout', 'index.json'), 'utf8');
    if (!index.includes(manifest.digest)) {
      throw new BerthError('BERTH_PULL_FAILED', {
        name,
        why: 'the name came to mean another image while it was looked at',
      });
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Does the policy in force demand nothing of any image? Where it cannot be read, skopeo says what is wrong with it. */
function acceptsAnything(): boolean {
  try {
    return demandsNothing(JSON.parse(readPolicy()));
  } catch {
    return false;
  }
}

function readPolicy(): string {
  const own = join(process.env['HOME'] ?? homedir(), '.config', 'containers', 'policy.json');
  try {
    return readFileSync(own, 'utf8');
  } catch {
    return readFileSync('/etc/containers/policy.json', 'utf8');
  }
}

/** Every requirement, wherever it stands, has a type; this looks at all of them. */
function demandsNothing(policy: unknown): boolean {
  if (Array.isArray(policy)) return policy.length > 0 && policy.every(demandsNothing);
  if (typeof policy !== 'object' || policy === null) return true;
  const entries = Object.entries(policy);
  if ('type' in policy && typeof policy.type === 'string') return policy.type === 'insecureAcceptAnything';
  return entries.every(([, value]) => demandsNothing(value));
}
