import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Locked {
  readonly packages: Readonly<
    Record<string, { readonly version?: string; readonly license?: string; readonly dev?: boolean }>
  >;
}

/**
 * The licences of the npm packages that may be bundled into berthd and the command: all that are no mere tools.
 *
 * @throws Error for a package whose licence is not with it.
 */
export function bundledLicenses(root: string): string {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Locked;
  const bundled = Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && dev !== true);
  const parts = bundled.map(([path, { version = '', license = '' }]) => {
    const name = path.replace(/^.*node_modules\//, '');
    const directory = join(root, path);
    const files = readdirSync(directory).filter((file) => /^(licen[cs]e|copying)/i.test(file));
    if (files.length === 0 && license === '') throw new Error(`${name} has no licence with it`);
    const texts = files.map((file) => readFileSync(join(directory, file), 'utf8').trim());
    return [`${name} ${version} (${license})`, ...texts].join('\n\n');
  });
  return `${parts.join(`\n\n${'-'.repeat(78)}\n\n`)}\n`;
}
