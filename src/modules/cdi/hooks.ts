import { basename } from 'node:path';
import type { CdiHook } from './specification.js';

/** What the hooks of a device's edits come down to. */
export interface HookWork {
  /** Symbolic links in the container. */
  readonly links: readonly { readonly path: string; readonly target: string }[];
  /** Directories whose libraries the dynamic linker is to find. */
  readonly libraryDirectories: readonly string[];
  /** Those that have to be run. */
  readonly programs: readonly CdiHook[];
  /** What is not done, in words. */
  readonly notes: readonly string[];
}

/** NVIDIA's programs for hooks: the second since its container toolkit 1.17. */
const NVIDIA = ['nvidia-ctk', 'nvidia-cdi-hook'];

/** When these run in a container's life, nothing of it can be changed any more. */
const TOO_LATE = ['poststart', 'poststop'];

/**
 * Does what hooks are known to do without running them: they would change a container's root as root, and ours is read-only
 * and its user's. docs/adr/0018 has the reasons.
 */
export function understandHooks(hooks: readonly CdiHook[]): HookWork {
  const links: { path: string; target: string }[] = [];
  const libraryDirectories: string[] = [];
  const programs: CdiHook[] = [];
  const notes: string[] = [];
  for (const hook of hooks) {
    const [command = '', ...options] = commandOf(hook);
    switch (command) {
      case 'create-symlinks':
        links.push(...valuesOf(options, 'link').flatMap(linkOf));
        break;
      case 'update-ldcache':
        libraryDirectories.push(...valuesOf(options, 'folder'));
        break;
      case 'chmod':
        // A container's /dev is the host's.
        break;
      case 'enable-cuda-compat':
      case 'disable-device-node-modification':
        notes.push(`the hook ${command} is left out`);
        break;
      default:
        if (TOO_LATE.includes(hook.name)) notes.push(`${hook.path} is left out: Berth runs no ${hook.name} hooks`);
        else programs.push(hook);
    }
  }
  return { links, libraryDirectories, programs, notes };
}

/** NVIDIA's command and its options; nothing for a program that is not theirs. */
function commandOf({ path, args }: CdiHook): readonly string[] {
  if (!NVIDIA.includes(basename(path))) return [];
  const [, ...words] = args;
  return words[0] === 'hook' ? words.slice(1) : words;
}

/** The values of --NAME VALUE and --NAME=VALUE. */
function valuesOf(options: readonly string[], name: string): string[] {
  return options.flatMap((option, i) => {
    if (option.startsWith(`--${name}=`)) return [option.slice(name.length + 3)];
    const value = options[i + 1];
    return option === `--${name}` && value !== undefined ? [value] : [];
  });
}

/** TARGET::PATH */
function linkOf(text: string): { path: string; target: string }[] {
  const [target = '', path = '', ...more] = text.split('::');
  const fits = target !== '' && path.startsWith('/') && !path.split('/').includes('..') && more.length === 0;
  return fits ? [{ path, target }] : [];
}
