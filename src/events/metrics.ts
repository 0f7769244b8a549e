/** Values of a metric's labels, by their names. */
export type Labels = Readonly<Record<string, string>>;

/** One line's worth: what is added to the metric's name, its labels and its value. */
export interface Sample {
  readonly suffix?: '_bucket' | '_sum' | '_count';
  readonly labels?: Labels;
  readonly value: number;
}

/** A family of Prometheus' text format (version 0.0.4). */
export interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** Families as text; one without samples is left out. */
export function metricText(families: readonly Family[]): string {
  return families
    .filter(({ samples }) => samples.length > 0)
    .map(({ name, type, help, samples }) => {
      const lines = samples.map(
        ({ suffix = '', labels, value }) => `${name}${suffix}${labelText(labels)} ${number(value)}`,
      );
      return [`# HELP ${name} ${escape(help)}`, `# TYPE ${name} ${type}`, ...lines, ''].join('\n');
    })
    .join('');
}

function labelText(labels: Labels = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escape(value).replaceAll('"', '\\"')}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escape(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function number(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  return String(value);
}

/** Series of one metric, by their labels. */
class Series<T> {
  readonly #series = new Map<string, { readonly labels: Labels; readonly value: T }>();

  constructor(private readonly make: () => T) {}

  of(labels: Labels): { readonly labels: Labels; readonly value: T } {
    const key = JSON.stringify(labels);
    const found = this.#series.get(key) ?? { labels, value: this.make() };
    this.#series.set(key, found);
    return found;
  }

  all(): { readonly labels: Labels; readonly value: T }[] {
    return [...this.#series.values()];
  }
}

/** Counts, by labels that the caller has made sure are few. */
export class Counter {
  readonly #series = new Series(() => ({ count: 0 }));

  constructor(
    private readonly name: string,
    private readonly help: string,
  ) {}

  add(labels: Labels = {}, amount = 1): void {
    this.#series.of(labels).value.count += amount;
  }

  family(): Family {
    const samples = this.#series.all().map(({ labels, value }) => ({ labels, value: value.count }));
    return { name: this.name, type: 'counter', help: this.help, samples };
  }
}

/** Counts measurements by size. */
export class Histogram {
  readonly #series: Series<{ readonly counts: number[]; sum: number }>;

  /** @param bounds upper bounds of its buckets, ascending; what is above the last one counts as infinite. */
  constructor(
    private readonly name: string,
    private readonly help: string,
    private readonly bounds: readonly number[],
  ) {
    this.#series = new Series(() => ({ counts: Array.from({ length: bounds.length + 1 }, () => 0), sum: 0 }));
  }

  observe(value: number, labels: Labels = {}): void {
    const series = this.#series.of(labels).value;
    const bucket = this.bounds.findIndex((bound) => value <= bound);
    const index = bucket === -1 ? this.bounds.length : bucket;
    series.counts[index] = (series.counts[index] ?? 0) + 1;
    series.sum += value;
  }

  family(): Family {
    const samples = this.#series.all().flatMap(({ labels, value: { counts, sum } }) => {
      let below = 0;
      const buckets = counts.map((count, index): Sample => {
        below += count;
        const bound = this.bounds[index];
        return {
          suffix: '_bucket',
          labels: { ...labels, le: bound === undefined ? '+Inf' : String(bound) },
          value: below,
        };
      });
      return [...buckets, { suffix: '_sum', labels, value: sum }, { suffix: '_count', labels, value: below }] as const;
    });
    return { name: this.name, type: 'histogram', help: this.help, samples };
  }
}
