// Writes what is derived from another file: TypeScript and C from proto/berth.proto, the C error table and
// docs/errors.md from src/errors/errors.json. `--check` fails where docs/errors.md is out of step.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);

/** Writes only what changed, so that builds depending on the file stay fresh. */
function write(path, text) {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

function protocol() {
  const out = at('src', 'protocol', 'generated');
  mkdirSync(out, { recursive: true });
  execFileSync(process.execPath, [
    at('node_modules', 'protobufjs-cli', 'bin', 'pbjs'),
    ...[
      '-t',
      'static-module',
      '-w',
      'esm',
      '-d',
      '--no-verify',
      '--no-delimited',
      '--no-typeurl',
      '--no-convert',
      '--no-create',
    ],
    ...['-o', join(out, 'berth.js'), at('proto', 'berth.proto')],
  ]);
  const scratch = mkdtempSync(join(tmpdir(), 'berth-generate-'));
  try {
    execFileSync('protoc', [
      ...['-I', at('proto'), `--nanopb_out=${scratch}`, 'berth.proto'],
      `--nanopb_opt=-I${at('proto')}`,
    ]);
    for (const name of readdirSync(scratch))
      write(at('build', 'generated', name), readFileSync(join(scratch, name), 'utf8'));
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function errors() {
  const table = JSON.parse(readFileSync(at('src', 'errors', 'errors.json'), 'utf8'));
  const quote = (text) => JSON.stringify(text);
  // printf formats: a brace becomes %s, in the order in which it stands.
  const format = (text) => quote(text.replace(/%/g, '%%').replace(/\{\w+\}/g, '%s'));
  const lines = table.map(
    (row) =>
      `#define ${row.code}_EXIT ${row.exit}U\n#define ${row.code}_WHAT ${format(row.what)}\n` +
      `#define ${row.code}_WHY ${format(row.why)}\n#define ${row.code}_HINT ${format(row.hint)}\n`,
  );
  write(
    at('build', 'generated', 'berth_errors.h'),
    `/* Generated from src/errors/errors.json. */\n#pragma once\n\n${lines.join('\n')}`,
  );
  write(
    at('src', 'errors', 'generated', 'codes.ts'),
    `/** A stable error code: a row of errors.json. */\nexport type ErrorCode =\n${table.map((row) => `  | ${quote(row.code)}`).join('\n')};\n`,
  );
  const page =
    `# Errors\n\nEvery error has a stable code, which stands in the user's message and in the daemon's log alike. ` +
    `Words in braces are filled in.\nThe exit status is that of Berth's own commands; a rank that cannot start ends ` +
    `with 1, and \`berth exec\` with 125 whatever Berth's reason.\n\nGenerated from \`src/errors/errors.json\` by ` +
    `\`npm run generate\`.\n\n${table
      .map(
        (row) =>
          `## ${row.code}\n\n${row.what}\n\n- Why: ${row.why}\n- What to do: ${row.hint}\n- Exit status: ${row.exit}\n`,
      )
      .join('\n')}`;
  if (process.argv.includes('--check')) {
    if (readFileSync(at('docs', 'errors.md'), 'utf8') !== page) {
      console.error('docs/errors.md is not what src/errors/errors.json gives: run npm run generate');
      process.exit(1);
    }
    return;
  }
  write(at('docs', 'errors.md'), page);
}

protocol();
errors();
