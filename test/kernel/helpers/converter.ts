import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './programs.js';

const EXECUTABLE = process.env['BERTH_TEST_CONVERTER'] ?? join(projectRoot, 'build', 'bin', 'berth-converter');

/** What the converter says of its work; which of the fields are there depends on the mode. */
export interface Report {
  readonly entries?: number;
  readonly deviceNodes?: number;
  readonly bytes?: number;
  readonly size?: number;
  readonly blobDigest?: string;
  readonly blobSize?: number;
  readonly diffId?: string;
  readonly digest?: string;
  readonly error?: string;
  readonly why?: string;
  readonly errno?: number;
}

export interface Conversion {
  readonly status: number | null;
  readonly report: Report;
  /** Path of the file that was written. */
  readonly output: string;
}

/** Runs the converter on an archive, or on layer files. */
export function runConverter(
  scratch: string,
  mode: 'layer' | 'image' | 'assemble',
  input: Buffer | readonly string[],
  options: readonly string[] = [],
): Conversion {
  const directory = mkdtempSync(join(scratch, `${mode}-`));
  const output = join(directory, 'output');
  const layers = Buffer.isBuffer(input) ? [] : input;
  const descriptors: number[] = [];
  try {
    if (Buffer.isBuffer(input)) writeFileSync(join(directory, 'input'), input);
    descriptors.push(openSync(Buffer.isBuffer(input) ? join(directory, 'input') : '/dev/null', 'r'));
    descriptors.push(openSync(output, 'wx+'), ...layers.map((layer) => openSync(layer, 'r')));
    const [archive = -1, ...inherited] = descriptors;
    const args = [mode, '--output', '3', ...layers.flatMap((_, i) => ['--layer', String(i + 4)]), ...options];
    const { status, stdout, stderr } = spawnSync(EXECUTABLE, args, { stdio: [archive, 'pipe', 'pipe', ...inherited] });
    const line = stdout.toString();
    if (status === 2) return { status, report: { why: stderr.toString() }, output };
    if (!/^\{.*\}\n$/.test(line)) throw new Error(`the converter ended with ${status}: ${line}${stderr.toString()}`);
    return { status, report: JSON.parse(line) as Report, output };
  } finally {
    for (const fd of descriptors) closeSync(fd);
  }
}

/** Layers to an image, bottom first: each to a layer file, and those together. What fails first is returned. */
export function build(scratch: string, layers: readonly Buffer[]): Conversion {
  const files: string[] = [];
  for (const layer of layers) {
    const conversion = runConverter(scratch, 'layer', layer, ['--level', '1']);
    if (conversion.status !== 0) return conversion;
    files.push(conversion.output);
  }
  return runConverter(scratch, 'assemble', files);
}

/** Mounts an image; returns where. removeScratch() undoes it. */
export function mountImage(scratch: string, image: string): string {
  const place = mkdtempSync(join(scratch, 'mount-'));
  execFileSync('mount', ['-t', 'squashfs', '-o', 'ro,loop', image, place]);
  return place;
}

/** What `umoci unpack` makes of the layers; undefined where it refuses them. */
export function unpackWithUmoci(scratch: string, layers: readonly Buffer[]): string | undefined {
  const layout = mkdtempSync(join(scratch, 'layout-'));
  writeLayout(layout, layers);
  const { status } = spawnSync('umoci', ['unpack', '--image', `${layout}:test`, join(layout, 'bundle')]);
  return status === 0 ? join(layout, 'bundle', 'rootfs') : undefined;
}

function writeLayout(layout: string, layers: readonly Buffer[]): void {
  mkdirSync(join(layout, 'blobs', 'sha256'), { recursive: true });
  const put = (mediaType: string, bytes: Buffer): object => {
    const hex = sha256(bytes);
    writeFileSync(join(layout, 'blobs', 'sha256', hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const type = 'application/vnd.oci.image';
  const blobs = layers.map((layer) => put(`${type}.layer.v1.tar`, layer));
  const rootfs = { type: 'layers', diff_ids: layers.map((layer) => `sha256:${sha256(layer)}`) };
  const history = layers.map(() => ({ created_by: 'test' }));
  const content = { architecture: 'amd64', os: 'linux', config: {}, rootfs, history };
  const config = put(`${type}.config.v1+json`, Buffer.from(JSON.stringify(content)));
  const manifest = { schemaVersion: 2, mediaType: `${type}.manifest.v1+json`, config, layers: blobs };
  const reference = put(`${type}.manifest.v1+json`, Buffer.from(JSON.stringify(manifest)));
  const named = { ...reference, annotations: { 'org.opencontainers.image.ref.name': 'test' } };
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  writeFileSync(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function digestOf(path: string): string {
  return `sha256:${sha256(readFileSync(path))}`;
}
