import { usage } from '../arguments.js';

/** What an image is made for, in the names of the OCI image specification. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** Node's names of the architectures that differ. */
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };
/** The one variant of these, which most images leave out. */
const usualVariant: Readonly<Record<string, string>> = { arm64: 'v8', amd64: 'v1' };

/** The platform of this host. */
export function hostPlatform(): Platform {
  return { os: 'linux', architecture: architectures[process.arch] ?? process.arch };
}

/**
 * Reads OS/ARCHITECTURE[/VARIANT].
 *
 * @throws BerthError BERTH_USAGE
 */
export function parsePlatform(text: string): Platform {
  const [os = '', architecture = '', variant, ...more] = text.split('/');
  const parts = [os, architecture, ...(variant === undefined ? [] : [variant])];
  if (more.length > 0 || !parts.every((part) => /^[a-z0-9][a-z0-9._-]*$/.test(part))) {
    throw usage(`--platform was given ${text}`, 'a platform is OS/ARCHITECTURE[/VARIANT], such as linux/arm64', 'pull');
  }
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

export function showPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');
}

/**
 * How well an image's platform serves a wish: 0 not at all. Without a variant in the wish, an image that names none, or
 * the usual one, comes before others.
 */
export function fitness(image: Platform, wish: Platform): number {
  if (image.os !== wish.os || image.architecture !== wish.architecture) return 0;
  const usual = usualVariant[image.architecture];
  const plain = image.variant === undefined || image.variant === usual;
  if (wish.variant === undefined) return plain ? 2 : 1;
  return image.variant === wish.variant || (plain && wish.variant === usual) ? 2 : 0;
}
