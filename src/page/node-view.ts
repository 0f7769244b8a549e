import { ask, Events, Failure, TokenRefused } from './connection.js';
import { el, table } from './dom.js';
import { age, size } from './format.js';
import { badge, counted, drained, overall, passed, problems } from './health.js';
import { launchList, legend, MOST_SHOWN } from './launches.js';
import { failedPulls, MOST_FAILED, pullBar } from './pulls.js';
import type { ImageState, NodeState } from '../events/index.js';
import type { Finding, Launch, Message, Pull, Status } from './types.js';

/** How long, in milliseconds, until what has changed is asked for: what changes together is asked for once. */
const ASK_WAIT = 1_000;

/** Ages are right to this many milliseconds. */
const AGE_INTERVAL = 15_000;

/** Seconds over which launches are counted. */
const RATE_SPAN = 60;

/** Events after which the node has the same containers and pulls as before. */
const LEAVES_STATE: ReadonlySet<Message['type']> = new Set(['launch', 'health', 'drain', 'hello']);

/** What a node's view tells the page. */
export interface Surroundings {
  /** For those who hear the page. */
  readonly announce: (text: string) => void;
  readonly changed: (name: string, status: Status | undefined) => void;
  /** The node takes the token no longer; the view has ended. */
  readonly refused: () => void;
}

/** One node, live. */
export class NodeView {
  readonly #events: Events;
  readonly #findings = new Map<string, Finding>();
  #launches: Launch[] = [];
  #failedPulls: Pull[] = [];
  /** Seconds since the epoch, of others' launches too. */
  #times: number[] = [];
  #images: readonly ImageState[] = [];
  #isCaughtUp = false;
  #timer: number | undefined;
  readonly #clock: number;

  readonly #status = el('span');
  readonly #connection = el('p', { class: 'connection' }, 'connecting…');
  readonly #about = el('span', { class: 'quiet' });
  readonly #numbers = el('dl', { class: 'numbers' });
  readonly #launchPanel = el('div');
  readonly #containerPanel = el('div');
  readonly #pullPanel = el('div');
  readonly #imagePanel = el('div');
  readonly #healthCount = el('span', { class: 'quiet' });
  readonly #drain = el('div');
  readonly #problems = el('div');
  readonly #passed = el('ul', { class: 'findings' });

  /** @param state what the node has just said. */
  constructor(
    place: HTMLElement,
    private readonly origin: string,
    private readonly token: string,
    private state: NodeState,
    private readonly surroundings: Surroundings,
  ) {
    this.#build(place);
    this.#draw();
    void this.#checkHealth(60);
    void this.#listImages();
    this.#events = new Events(origin, token, {
      begun: () => {
        this.#show('live', 'live');
      },
      told: (messages) => {
        this.#take(messages);
      },
      lost: (why) => {
        this.#show('lost', `connection lost: ${why}; trying again`);
        surroundings.announce(`${this.state.node}: connection lost`);
        surroundings.changed(this.state.node, undefined);
        void this.#checkToken();
      },
    });
    this.#clock = window.setInterval(() => {
      this.#draw();
    }, AGE_INTERVAL);
  }

  /** A stream that is refused looks to a browser like a node that is away: tokens end, by their time or the site's. */
  async #checkToken(): Promise<void> {
    try {
      await ask(this.origin, this.token, '/v1/nodes');
    } catch (error) {
      if (!(error instanceof TokenRefused)) return;
      this.#close();
      this.surroundings.refused();
    }
  }

  #close(): void {
    this.#events.close();
    window.clearInterval(this.#clock);
    window.clearTimeout(this.#timer);
  }

  #build(place: HTMLElement): void {
    const again = el('button', { type: 'button' }, 'Check now');
    again.addEventListener('click', () => void this.#checkHealth(0, again));
    const panel = (title: string, id: string, ...content: readonly (Node | undefined)[]): HTMLElement => {
      const heading = `${place.id}-${id}`;
      const [first, ...rest] = content;
      const head = el('header', {}, el('h3', { id: heading }, title), first);
      return el('section', { class: `panel of-${id}`, 'aria-labelledby': heading }, head, ...rest);
    };
    const details = el('details', {}, el('summary', {}, 'What has passed'), this.#passed);
    place.replaceChildren(
      el(
        'header',
        {},
        el('h2', { id: `${place.id}-name` }, this.state.node),
        this.#status,
        this.#about,
        this.#connection,
      ),
      this.#numbers,
      el(
        'div',
        { class: 'panels' },
        el(
          'div',
          { class: 'column' },
          panel('Recent launches', 'launches', undefined, this.#launchPanel),
          panel('Containers', 'containers', undefined, this.#containerPanel),
        ),
        el(
          'div',
          { class: 'column' },
          panel(
            'Health',
            'health',
            el('span', {}, this.#healthCount, ' ', again),
            this.#drain,
            this.#problems,
            details,
          ),
          panel('Pulls', 'pulls', undefined, this.#pullPanel),
          panel('Images', 'images', undefined, this.#imagePanel),
        ),
      ),
    );
    place.setAttribute('aria-labelledby', `${place.id}-name`);
  }

  #show(state: string, text: string): void {
    this.#connection.dataset['state'] = state;
    this.#connection.textContent = text;
  }

  #take(messages: readonly Message[]): void {
    for (const message of messages) this.#takeOne(message);
    // What was before this page is no news.
    this.#isCaughtUp = true;
    this.#draw();
  }

  #takeOne(message: Message): void {
    if (message.type === 'others')
      this.#times.push(...Array.from({ length: message.counts.launch ?? 0 }, () => message.time));
    if (message.type === 'launch') {
      this.#times.push(message.time);
      this.#launches = [message, ...this.#launches].slice(0, MOST_SHOWN);
      if (message.error !== undefined) this.#announceFailure(`launch of job ${message.job}`, message);
    }
    if (message.type === 'health') {
      const { check, to, text, hint } = message;
      this.#findings.set(check, { id: check, status: to, text, hint });
      this.#announce(`check ${check}: ${to}, ${text}`);
    }
    if (message.type === 'drain') {
      this.#drain.replaceChildren(drained(message));
      this.#announce(`${message.what} in Slurm: ${message.reason}`);
    }
    if (message.type === 'pull' && message.what === 'done') void this.#listImages();
    if (message.type === 'pull' && message.what === 'failed') {
      this.#failedPulls = [message, ...this.#failedPulls].slice(0, MOST_FAILED);
      this.#announceFailure(`pull of ${message.image}`, message);
    }
    if (this.#isCaughtUp && !LEAVES_STATE.has(message.type)) this.#askSoon();
  }

  #announceFailure(what: string, { error = '', text }: Launch | Pull): void {
    this.#announce(`${what} failed: ${error}${text === undefined ? '' : `, ${text}`}`);
  }

  #announce(text: string): void {
    if (this.#isCaughtUp) this.surroundings.announce(`${this.state.node}: ${text}`);
  }

  #askSoon(): void {
    this.#timer ??= window.setTimeout(() => {
      this.#timer = undefined;
      ask<NodeState>(this.origin, this.token, '/v1/state').then(
        (state) => {
          this.state = state;
          this.#draw();
        },
        () => undefined,
      );
    }, ASK_WAIT);
  }

  async #checkHealth(maxAge: number, button?: HTMLButtonElement): Promise<void> {
    button?.setAttribute('aria-disabled', 'true');
    this.#healthCount.textContent = 'checking…';
    try {
      const { checks } = await ask<{ checks: Finding[] }>(this.origin, this.token, `/v1/health?max-age=${maxAge}`);
      this.#findings.clear();
      for (const finding of checks) this.#findings.set(finding.id, finding);
      if (button) this.#announce(`health: ${counted(checks)}`);
    } catch (error) {
      this.#problems.replaceChildren(el('p', {}, error instanceof Error ? error.message : ''));
    }
    button?.removeAttribute('aria-disabled');
    this.#draw();
  }

  async #listImages(): Promise<void> {
    try {
      this.#images = (await ask<{ images: ImageState[] }>(this.origin, this.token, '/v1/images')).images;
      this.#drawImages();
    } catch (error) {
      if (error instanceof Failure || error instanceof TokenRefused)
        this.#imagePanel.replaceChildren(el('p', {}, `The store cannot be listed: ${error.message}.`));
    }
  }

  #draw(): void {
    const { state } = this;
    const now = Date.now() / 1000;
    const findings = [...this.#findings.values()];
    const status = findings.length === 0 ? undefined : overall(findings);
    this.surroundings.changed(state.node, status);
    this.#status.replaceChildren(...(status ? [badge(status)] : []));
    const whose = state.uid === 0 ? '' : '; what is yours';
    this.#about.textContent = `berthd ${state.berthd}, up ${age(now - state.started)}${whose}`;
    this.#drawNumbers(now);
    if (findings.length > 0) this.#healthCount.textContent = counted(findings);
    if (findings.length > 0) this.#problems.replaceChildren(problems(findings));
    this.#passed.replaceChildren(...passed(findings));
    this.#drawLaunches();
    this.#drawContainers(now);
    this.#drawPulls();
    this.#drawImages();
  }

  #drawNumbers(now: number): void {
    const { containers, otherContainers } = this.state;
    this.#times = this.#times.filter((time) => now - time < RATE_SPAN);
    const ranks = containers.reduce((sum, container) => sum + container.ranks, 0);
    const cold = this.#launches.flatMap(({ start, totalUs }) => (start === 'cold' && totalUs ? [totalUs] : []));
    const median = cold.toSorted((a, b) => a - b)[Math.floor((cold.length - 1) / 2)];
    const numbers: readonly (readonly [string, string])[] = [
      ['containers', String(containers.length)],
      ...(otherContainers > 0 ? ([['of others', String(otherContainers)]] as const) : []),
      ['ranks', String(ranks)],
      ['launches in the last minute', String(this.#times.length)],
      ['ms to build a container (median)', median === undefined ? '–' : (median / 1000).toFixed(1)],
    ];
    this.#numbers.replaceChildren(
      ...numbers.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))),
    );
  }

  #drawLaunches(): void {
    const launches = this.#launches;
    if (launches.length === 0) this.#launchPanel.replaceChildren(quiet('None that the node remembers.'));
    else this.#launchPanel.replaceChildren(legend(launches), launchList(launches));
  }

  #drawContainers(now: number): void {
    const { containers, otherContainers } = this.state;
    if (containers.length === 0) {
      const others = otherContainers > 0 ? `None of yours; others have ${otherContainers}.` : 'None now.';
      this.#containerPanel.replaceChildren(quiet(others));
      return;
    }
    const columns = [
      { title: 'Container', isId: true },
      { title: 'Job', isNumber: true },
      { title: 'User' },
      { title: 'Image' },
      { title: 'Ranks', isNumber: true },
      { title: 'Age', isNumber: true },
    ];
    const rows = containers
      .toSorted((a, b) => b.created - a.created)
      .map(({ container, job, user, image, ranks, created }) => {
        return [container, job === 0 ? '–' : String(job), user, image, String(ranks), age(now - created)];
      });
    this.#containerPanel.replaceChildren(table('Containers', columns, rows));
  }

  #drawPulls(): void {
    const { pulls, otherPulls } = this.state;
    const bars = pulls.map((pull) => pullBar(this.origin, pull));
    const others = otherPulls > 0 ? [quiet(`Others pull ${otherPulls}.`)] : [];
    const none = bars.length + others.length === 0 ? [quiet('None now.')] : [];
    const failed = this.#failedPulls.length > 0 ? [failedPulls(this.#failedPulls)] : [];
    this.#pullPanel.replaceChildren(...bars, ...others, ...none, ...failed);
  }

  #drawImages(): void {
    if (this.#images.length === 0) {
      this.#imagePanel.replaceChildren(quiet('None that you can name.'));
      return;
    }
    const columns = [
      { title: 'Image' },
      { title: 'Size', isNumber: true },
      { title: 'In use', isNumber: true },
      { title: 'Made' },
    ];
    const rows = this.#images.map(({ name, size: bytes, containers, created }) => {
      return [name, size(bytes), String(containers), new Date(created * 1000).toISOString().slice(0, 10)];
    });
    this.#imagePanel.replaceChildren(table('Images', columns, rows));
  }
}

function quiet(text: string): HTMLParagraphElement {
  return el('p', { class: 'quiet' }, text);
}
