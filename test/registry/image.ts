import { digestOf, makeLayer, type Layer, type LayerSpec } from './layers.js';

export type Format = 'oci' | 'docker';

export interface ImageSpec {
  readonly layers: readonly LayerSpec[];
  /** OCI unless given. */
  readonly format?: Format;
  /** OS/ARCHITECTURE[/VARIANT]; linux/amd64 unless given. */
  readonly platform?: string;
  /** What the configuration says of running it: Env, Entrypoint and so on. */
  readonly config?: Readonly<Record<string, unknown>>;
}

export interface Document {
  readonly bytes: Buffer;
  readonly digest: string;
  readonly mediaType: string;
}

/** An image as it goes to a registry. */
export interface Image {
  readonly manifest: Document;
  readonly config: Document;
  readonly layers: readonly Layer[];
  readonly platform: string;
}

const types = {
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: {
      gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
      zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
      none: 'application/vnd.oci.image.layer.v1.tar',
    },
  },
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: {
      gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
      zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
      none: 'application/vnd.docker.image.rootfs.diff.tar',
    },
  },
} as const;

export function makeImage({ layers: specs, format = 'oci', platform = 'linux/amd64', config }: ImageSpec): Image {
  const layers = specs.map(makeLayer);
  const configuration = document(types[format].config, {
    created: '1970-01-01T00:00:00Z',
    ...platformFields(platform),
    config: config ?? {},
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map((_, i) => ({ created: '1970-01-01T00:00:00Z', created_by: `layer ${i}` })),
  });
  const manifest = document(types[format].manifest, {
    schemaVersion: 2,
    mediaType: types[format].manifest,
    config: descriptor(configuration),
    layers: layers.map(({ blob, digest, compression }) => ({
      mediaType: types[format].layer[compression],
      digest,
      size: blob.length,
    })),
  });
  return { manifest, config: configuration, layers, platform };
}

/** What chooses among images by their platforms. */
export function makeIndex(images: readonly Image[], format: Format = 'oci'): Document {
  return document(types[format].index, {
    schemaVersion: 2,
    mediaType: types[format].index,
    manifests: images.map(({ manifest, platform }) => ({
      ...descriptor(manifest),
      platform: platformFields(platform),
    })),
  });
}

function document(mediaType: string, content: unknown): Document {
  const bytes = Buffer.from(JSON.stringify(content, undefined, 3));
  return { bytes, digest: digestOf(bytes), mediaType };
}

function descriptor({ mediaType, digest, bytes }: Document): { mediaType: string; digest: string; size: number } {
  return { mediaType, digest, size: bytes.length };
}

function platformFields(platform: string): { os: string; architecture: string; variant?: string } {
  const [os = '', architecture = '', variant] = platform.split('/');
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}
