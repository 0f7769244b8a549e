import type { Definition } from './definition.js';

/** A definition as a file again: one that reads as the same. */
export function formatDefinition(definition: Definition): string {
  const { description, image, mounts, workdir, entrypoint, writable, root, home, modules, env, annotations } =
    definition;
  const lines: string[] = [];
  const add = (key: string, value: string | boolean | readonly string[] | undefined): void => {
    if (value !== undefined && !(Array.isArray(value) && value.length === 0)) lines.push(`${key} = ${show(value)}`);
  };
  add('description', description);
  add('image', image);
  add('mounts', mounts);
  add('workdir', workdir);
  add('entrypoint', entrypoint);
  add('writable', writable);
  add('root', root);
  add('home', home);
  add('modules', modules);
  for (const [title, entries] of Object.entries({ env, annotations })) {
    if (Object.keys(entries).length === 0) continue;
    lines.push('', `[${title}]`, ...Object.entries(entries).map(([key, value]) => `${keyOf(key)} = ${show(value)}`));
  }
  return lines.join('\n');
}

function keyOf(text: string): string {
  return /^[A-Za-z0-9_-]+$/.test(text) ? text : quote(text);
}

function show(value: string | boolean | readonly string[]): string {
  if (typeof value === 'boolean') return String(value);
  return typeof value === 'string' ? quote(value) : `[${value.map(quote).join(', ')}]`;
}

/** A TOML basic string: JSON's escapes are a subset of TOML's, save DEL. */
function quote(text: string): string {
  return JSON.stringify(text).replaceAll('\x7f', '\\u007f');
}
