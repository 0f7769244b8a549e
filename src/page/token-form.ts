import { el } from './dom.js';

/** Asks for a node's token. Resolves with it, and whether other nodes may be tried with it. */
export function askForToken(
  place: HTMLElement,
  node: string,
  problem: string | undefined,
  hasOthers: boolean,
): Promise<{ readonly token: string; readonly isForAll: boolean }> {
  const id = `token-${place.id}`;
  const field = el('input', {
    id,
    type: 'password',
    required: '',
    minlength: '32',
    autocomplete: 'off',
    spellcheck: 'false',
    'aria-describedby': `${id}-hint`,
  });
  const forAll = el('input', { type: 'checkbox', id: `${id}-all` });
  const form = el(
    'form',
    { class: 'token', 'aria-label': `Token of ${node}` },
    problem === undefined ? undefined : el('p', { class: 'problem', role: 'alert' }, problem),
    el('div', { class: 'field' }, el('label', { for: id }, `Token of ${node}`), field),
    el(
      'p',
      { class: 'quiet', id: `${id}-hint` },
      'The site’s, or one of your own: ',
      el('code', {}, 'berth token'),
      ' on the node. This window keeps it until it is closed.',
    ),
    hasOthers
      ? el('div', { class: 'choice' }, forAll, el('label', { for: `${id}-all` }, 'Try it on the other nodes too'))
      : undefined,
    el('p', {}, el('button', { type: 'submit', class: 'main' }, 'Show the node')),
  );
  place.replaceChildren(form);
  return new Promise((resolve) => {
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      resolve({ token: field.value.trim(), isForAll: forAll.checked });
    });
  });
}
