/** How far a pull has come, as `berth pull --progress=json` says it: one JSON object a line, in bytes. */
export interface PullState {
  readonly received: number;
  readonly size: number;
}

/** Milliseconds over which the present rate is taken. */
const WINDOW = 5000;

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** A line of `berth pull --progress=json`; undefined for one that says nothing of bytes. */
export function parseProgress(line: string): PullState | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('received' in value) || !('size' in value)) return undefined;
  const { received, size } = value;
  return isBytes(received) && isBytes(size) ? { received, size } : undefined;
}

function isBytes(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

/** Puts a pull into words for whoever waits: "34 of 80 MB, 12 MB/s, 4 s left". */
export class PullProgress {
  #points: { readonly at: number; readonly received: number }[] = [];
  #state: PullState | undefined;

  /** @param now milliseconds of a clock that does not jump. */
  constructor(private readonly now: () => number = () => performance.now()) {}

  add(state: PullState): void {
    const at = this.now();
    // What a layer that fails and starts anew takes back is no rate.
    if (state.received < (this.#state?.received ?? 0)) this.#points = [];
    this.#state = state;
    this.#points.push({ at, received: state.received });
    while (this.#points.length > 2 && at - (this.#points[1]?.at ?? at) > WINDOW) this.#points.shift();
  }

  /** Empty as long as nothing is known. */
  text(): string {
    const state = this.#state;
    if (!state || state.size === 0) return '';
    const amount = `${scaled(state.received, state.size)} of ${withUnit(state.size)}`;
    const left = state.size - state.received;
    if (left <= 0) return `${withUnit(state.size)} received, putting the image together`;
    const rate = this.#rate();
    if (rate <= 0) return amount;
    return `${amount}, ${withUnit(rate)}/s, ${duration(left / rate)} left`;
  }

  /** Bytes a second, up to now: a pull that stalls slows down in what is said of it. */
  #rate(): number {
    const first = this.#points[0];
    if (!first || !this.#state) return 0;
    const elapsed = this.now() - first.at;
    return elapsed < 200 ? 0 : ((this.#state.received - first.received) * 1000) / elapsed;
  }
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
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}
