import manifest from '../../package.json' with { type: 'json' };

/** Berth's software version: what logs and version errors show. */
export const version: string = manifest.version;
