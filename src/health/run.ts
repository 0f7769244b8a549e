import { reasonOf } from '../errors/index.js';
import { unknown, type Check, type Context, type Family, type Status, type Verdict } from './check.js';

/** Milliseconds for one check, and for all of them. */
const CHECK_LIMIT = 5_000;
const RUN_LIMIT = 20_000;

/** What one check found in one run. */
export interface Finding {
  readonly id: string;
  readonly family: Family;
  readonly status: Status;
  readonly text: string;
  /** What to do; only where something is to be done, and not where another finding is the cause. */
  readonly hint: string;
  readonly milliseconds: number;
}

/** Runs checks. One that did not end keeps its place: it is not started again before it has. */
export class Runner {
  /** Since when. */
  readonly #unfinished = new Map<string, Date>();

  /** All at once, each after those it needs. Resolves within {@link RUN_LIMIT}, whatever they do. */
  async run(checks: readonly Check[], context: Context): Promise<Finding[]> {
    const end = performance.now() + RUN_LIMIT;
    const started = new Map<string, Promise<Finding>>();
    const findings: Promise<Finding>[] = [];
    for (const check of this.#inOrder(checks)) {
      const needed = (check.needs ?? []).flatMap((id) => started.get(id) ?? []);
      const finding = this.#after(needed, check, context, end);
      started.set(check.id, finding);
      findings.push(finding);
    }
    const found = await Promise.all(findings);
    const places = new Map(checks.map(({ id }, place) => [id, place]));
    return found.sort((a, b) => (places.get(a.id) ?? 0) - (places.get(b.id) ?? 0));
  }

  /** Those that are needed come before those that need them. */
  #inOrder(checks: readonly Check[]): Check[] {
    const placed = new Set<Check>();
    const place = (check: Check): void => {
      if (placed.has(check)) return;
      for (const id of check.needs ?? []) {
        const needed = checks.find((one) => one.id === id);
        if (needed) place(needed);
      }
      placed.add(check);
    };
    checks.forEach(place);
    return [...placed];
  }

  async #after(needed: readonly Promise<Finding>[], check: Check, context: Context, end: number): Promise<Finding> {
    const broken = (await Promise.all(needed)).find(
      ({ status, text }) => status === 'fail' || text.startsWith(SKIPPED),
    );
    const start = performance.now();
    const verdict = broken
      ? unknown(`${SKIPPED}${broken.id}`)
      : await this.#inTime(check, context, Math.min(CHECK_LIMIT, end - start));
    const milliseconds = Math.round((performance.now() - start) * 10) / 10;
    const { id, family } = check;
    const { status, text, hint = check.hint } = verdict;
    return { id, family, status, text: oneLine(text), hint: status === 'pass' || broken ? '' : hint, milliseconds };
  }

  async #inTime(check: Check, context: Context, limit: number): Promise<Verdict> {
    const since = this.#unfinished.get(check.id);
    if (since) return unknown(`stuck since ${since.toISOString()}, and not started again`);
    if (limit <= 0) return unknown('not tried: the other checks took all of the time');
    this.#unfinished.set(check.id, new Date());
    const verdict = Promise.resolve()
      .then(() => check.run(context))
      .catch((error: unknown) => unknown(reasonOf(error)))
      .finally(() => this.#unfinished.delete(check.id));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Verdict>((resolve) => {
      timer = setTimeout(() => {
        resolve(unknown(`stuck: it did not end within ${limit / 1000} s`));
      }, limit);
    });
    try {
      return await Promise.race([verdict, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

const SKIPPED = 'not tried, because of ';

/** What was read goes to terminals, logs and Slurm's reasons. */
function oneLine(text: string): string {
  const flat = text.replace(/[\p{Cc}\p{Bidi_C}\u2028\u2029]+/gu, ' ').trim();
  return flat.length > 400 ? `${flat.slice(0, 399)}…` : flat;
}
