import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

export type Compression = 'gzip' | 'zstd' | 'none';

/** What a layer is to hold: files by path, or a tar archive as it is. */
export interface LayerSpec {
  readonly content: Readonly<Record<string, string | Buffer>> | Buffer;
  /** gzip unless given. */
  readonly compression?: Compression;
}

/** A layer as it goes to a registry. */
export interface Layer {
  readonly blob: Buffer;
  /** Of the blob. */
  readonly digest: string;
  /** Of the tar archive in it. */
  readonly diffId: string;
  readonly compression: Compression;
}

export function digestOf(bytes: Buffer | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The same content makes the same layer. */
export function makeLayer({ content, compression = 'gzip' }: LayerSpec): Layer {
  const tar = Buffer.isBuffer(content) ? content : archive(content);
  const blob = compress(tar, compression);
  return { blob, digest: digestOf(blob), diffId: digestOf(tar), compression };
}

function archive(files: Readonly<Record<string, string | Buffer>>): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'berth-layer-'));
  try {
    // It becomes the image's root directory, which users have to enter.
    chmodSync(directory, 0o755);
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(join(directory, dirname(path)), { recursive: true });
      writeFileSync(join(directory, path), content, { mode: path.includes('bin/') ? 0o755 : 0o644 });
    }
    const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=pax'];
    const argv = [...same, '--pax-option=delete=atime,delete=ctime', '-C', directory, '-cf', '-', '.'];
    return execFileSync('tar', argv, { maxBuffer: 2 ** 31 });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function compress(tar: Buffer, compression: Compression): Buffer {
  switch (compression) {
    case 'none':
      return tar;
    case 'gzip':
      return gzipSync(tar, { level: 1 });
    case 'zstd':
      return execFileSync('zstd', ['-qc'], { input: tar, maxBuffer: 2 ** 31 });
  }
}
