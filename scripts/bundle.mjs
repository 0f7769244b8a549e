// Bundles daemon and command line into one file each: a Node program that reads hundreds of small files starts twice
// as slowly, and a node's file system need not hold node_modules.
import { build } from 'esbuild';
import { dirname, join } from 'node:path';
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
// Beside a package.json of its own, so that Node takes these files for the CommonJS they are, wherever they lie.
mkdirSync(join(root, 'build', 'lib'), { recursive: true });
writeFileSync(join(root, 'build', 'lib', 'package.json'), '{ "type": "commonjs" }\n');

const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  // V8 keeps the source of what it runs in memory, as long as it runs.
  minifySyntax: true,
  minifyWhitespace: true,
  lineLimit: 160,
  // Licences are in the packages' third-party-licenses.
  legalComments: 'none',
  sourcemap: 'linked',
  sourcesContent: false,
  logLevel: 'warning',
};

// What few nodes need lies in a file of its own, read when it is needed.
const parts = {
  yaml: 'export { parse } from "yaml";',
  ws: 'export { WebSocket, WebSocketServer } from "ws";',
};
for (const [name, contents] of Object.entries(parts))
  await build({
    ...common,
    stdin: { contents, resolveDir: root },
    outfile: join(root, 'build', 'lib', `${name}.js`),
  });
const apart = {
  name: 'apart',
  setup: ({ onResolve }) =>
    onResolve({ filter: /^(?:yaml|ws)$/, namespace: 'file' }, ({ path }) => ({ path: `./${path}.js`, external: true })),
};

const entries = { berthd: 'src/daemon/main.ts', cli: 'src/cli/main.ts' };
for (const [name, entry] of Object.entries(entries)) {
  if (!existsSync(join(root, entry))) continue;
  await build({
    ...common,
    entryPoints: [join(root, entry)],
    outfile: join(root, 'build', 'lib', `${name}.js`),
    define: { 'import.meta.url': 'berthModuleUrl' },
    banner: { js: "const berthModuleUrl = require('node:url').pathToFileURL(__filename).href;" },
    plugins: [apart],
  });
}

// The node page: what a browser gets, beside the daemon that serves it.
const page = join(root, 'build', 'lib', 'page');
mkdirSync(page, { recursive: true });
for (const name of ['index.html', 'page.css', 'icon.svg'])
  copyFileSync(join(root, 'src', 'page', name), join(page, name));
await build({
  entryPoints: [join(root, 'src', 'page', 'main.ts')],
  outfile: join(page, 'page.js'),
  bundle: true,
  platform: 'browser',
  target: 'es2023',
  format: 'esm',
  minify: true,
  logLevel: 'warning',
});
