import { ask, TokenRefused } from './connection.js';
import { byId, el } from './dom.js';
import { badge } from './health.js';
import { NodeView } from './node-view.js';
import { askForToken } from './token-form.js';
import { forgetToken, forgetTokens, keepToken, tokenFor } from './tokens.js';
import type { NodeState } from '../events/index.js';
import type { Status } from './types.js';

/** Where the choice of light or dark is kept. It is no secret. */
const THEME = 'berth.theme';

/** How long, in milliseconds, until a node that does not answer is tried again. */
const RETRY_WAIT = 10_000;

const main = byId('nodes', HTMLElement);
const announcements = byId('announcements', HTMLElement);
const overview = byId('overview', HTMLElement);

/** The nodes of the page, in order. */
const entries: { readonly origin: string; name: string; status: Status | undefined; readonly place: HTMLElement }[] =
  [];

function announce(text: string): void {
  announcements.textContent = text;
}

/** Links to the nodes, with how each is. One node needs none. */
function drawOverview(): void {
  overview.hidden = entries.length < 2;
  const items = entries.map(({ name, status, place }) =>
    el('li', {}, el('a', { href: `#${place.id}` }, name, badge(status ?? 'unknown'))),
  );
  overview.replaceChildren(el('ul', {}, ...items));
}

/** Shows a node as soon as there is a token that it takes. */
async function showNode(origin: string): Promise<void> {
  const id = `node-${entries.length + 1}`;
  const place = el('section', { class: 'node', id, tabindex: '-1' });
  const entry = { origin, name: new URL(origin).host, status: undefined as Status | undefined, place };
  place.setAttribute('aria-label', entry.name);
  entries.push(entry);
  main.append(place);
  drawOverview();
  let problem: string | undefined;
  for (;;) {
    const token = tokenFor(origin) ?? (await enterToken(origin, place, entry.name, problem));
    try {
      const state = await ask<NodeState>(origin, token, '/v1/state');
      place.removeAttribute('aria-label');
      const changed = (name: string, status: Status | undefined): void => {
        if (entry.name === name && entry.status === status) return;
        Object.assign(entry, { name, status });
        drawOverview();
      };
      if (origin === location.origin && !areOthersShown) await showOthers(token);
      const refused = new Promise<void>((resolve) => {
        new NodeView(place, origin, token, state, { announce, changed, refused: resolve });
      });
      document.title = `${entries.map(({ name }) => name).join(', ')} – Berth`;
      await refused;
      throw new TokenRefused('the node does not take this token any longer');
    } catch (error) {
      problem = error instanceof Error ? `${entry.name}: ${error.message}.` : '';
      if (error instanceof TokenRefused) forgetToken(origin);
      else {
        place.replaceChildren(el('p', { class: 'notice', role: 'alert' }, `${problem} It is tried again.`));
        await new Promise((resolve) => window.setTimeout(resolve, RETRY_WAIT));
      }
    }
  }
}

let isForAll = false;
let areOthersShown = false;

async function enterToken(
  origin: string,
  place: HTMLElement,
  name: string,
  problem: string | undefined,
): Promise<string> {
  const isOwn = origin === location.origin;
  const entered = await askForToken(place, name, problem, isOwn);
  keepToken(origin, entered.token);
  if (isOwn) isForAll = entered.isForAll;
  return entered.token;
}

/** The other nodes that the site has listed; of these, those that the address asks for: ?nodes=n2,n3. */
async function showOthers(token: string): Promise<void> {
  const { nodes } = await ask<{ nodes: string[] }>(location.origin, token, '/v1/nodes');
  areOthersShown = true;
  const wanted = new URLSearchParams(location.search).get('nodes')?.split(',');
  const isWanted = (node: string): boolean => {
    const { host, hostname } = new URL(node);
    return !wanted || wanted.some((name) => name === host || name === hostname || hostname.startsWith(`${name}.`));
  };
  for (const node of nodes.filter((one) => one !== location.origin && isWanted(one))) {
    if (isForAll && tokenFor(node) === undefined) keepToken(node, token);
    void showNode(node);
  }
}

function setTheme(theme: string): void {
  if (theme === '') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
}

function begin(): void {
  const theme = byId('theme', HTMLSelectElement);
  theme.value = localStorage.getItem(THEME) ?? '';
  setTheme(theme.value);
  theme.addEventListener('change', () => {
    localStorage.setItem(THEME, theme.value);
    setTheme(theme.value);
  });
  byId('forget', HTMLButtonElement).addEventListener('click', () => {
    forgetTokens();
    location.reload();
  });
  void showNode(location.origin);
}

begin();
