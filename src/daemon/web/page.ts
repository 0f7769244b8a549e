import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

/** Beside the bundled daemon: scripts/bundle.mjs puts them there. */
const DIRECTORY = join(here, 'page');

/** The files of the page; nothing else is read. */
const FILES: ReadonlyMap<string, { readonly name: string; readonly type: string }> = new Map([
  ['/', { name: 'index.html', type: 'text/html; charset=utf-8' }],
  ['/page.css', { name: 'page.css', type: 'text/css; charset=utf-8' }],
  ['/page.js', { name: 'page.js', type: 'text/javascript; charset=utf-8' }],
  ['/icon.svg', { name: 'icon.svg', type: 'image/svg+xml' }],
]);

export interface PageFile {
  readonly type: string;
  readonly body: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

const read = new Map<string, PageFile>();

/** A file of the page, which has no data of the node in it; undefined where there is none of that path. */
export function pageFile(path: string): PageFile | undefined {
  const file = FILES.get(path);
  if (!file) return undefined;
  const known = read.get(path);
  if (known) return known;
  const body = readFileSync(join(DIRECTORY, file.name));
  const tag = createHash('sha256').update(body).digest('base64url').slice(0, 16);
  const found = { type: file.type, body, headers: { 'Cache-Control': 'no-cache', ETag: `"${tag}"` } };
  read.set(path, found);
  return found;
}

/**
 * What a browser may do with the page: nothing but its own files, and asking this node and those that the site has listed.
 *
 * @param nodes [events] nodes, e.g. "https://n2:9443"
 */
export function pageHeaders(nodes: readonly string[]): Readonly<Record<string, string>> {
  const connections = nodes.flatMap((node) => [node, node.replace(/^http/, 'ws')]);
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    ["connect-src 'self'", ...connections].join(' '),
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ];
  return {
    'Content-Security-Policy': policy.join('; '),
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Permissions-Policy': 'camera=(), microphone=(), geolocation=()',
    'X-Frame-Options': 'DENY',
  };
}
