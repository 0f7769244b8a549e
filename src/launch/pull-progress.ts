/** How far a pull has come, as `berth pull --progress=json` says it in its lines. In bytes, and seconds. */
export interface PullState {
  readonly received: number;
  readonly size: number;
  readonly bytesPerSecond: number;
  /** Absent while nobody can tell. */
  readonly secondsLeft?: number;
  /** Who else is pulling it. */
  readonly who?: string;
  readonly converting: boolean;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** A line of `berth pull --progress=json`; undefined for one that does not say how far it is. */
export function parseProgress(line: string): PullState | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const fields: Partial<Record<string, unknown>> = { ...value };
  const { received, size, bytesPerSecond, secondsLeft, who } = fields;
  if (!isAmount(received) || !isAmount(size)) return undefined;
  return {
    received,
    size,
    bytesPerSecond: isAmount(bytesPerSecond) ? bytesPerSecond : 0,
    ...(isAmount(secondsLeft) ? { secondsLeft } : {}),
    ...(typeof who === 'string' ? { who } : {}),
    converting: fields['phase'] === 'converting',
  };
}

/** For whoever waits: "34 of 80 MB, 12 MB/s, 4 s left". Empty as long as nothing is known. */
export function describeProgress(state: PullState | undefined): string {
  if (!state) return '';
  const { received, size, bytesPerSecond, secondsLeft, who } = state;
  if (size === 0) return who === undefined ? '' : `${who} pulls it`;
  if (state.converting || received >= size) return `${withUnit(size)} are here, the image is being put together`;
  return [
    ...(who === undefined ? [] : [`${who} pulls it`]),
    `${scaled(received, size)} of ${withUnit(size)}`,
    ...(bytesPerSecond > 0 ? [`${withUnit(bytesPerSecond)}/s`] : []),
    ...(secondsLeft === undefined ? [] : [`${duration(secondsLeft)} left`]),
  ].join(', ');
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function unitOf(bytes: number): number {
  const unit = bytes < 1000 ? 0 : Math.floor(Math.log10(bytes) / 3);
  return Math.min(unit, UNITS.length - 1);
}

/** In the unit of `whole`, without naming it. */
function scaled(bytes: number, whole: number): string {
  const value = bytes / 1000 ** unitOf(whole);
  return value < 10 && unitOf(whole) > 0 ? value.toFixed(1) : String(Math.round(value));
}

function withUnit(bytes: number): string {
  return `${scaled(bytes, bytes)} ${UNITS[unitOf(bytes)] ?? ''}`;
}

function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}
