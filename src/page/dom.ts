/** What an element may hold. */
export type Child = Node | string | undefined;

/** Attributes; those that are undefined are left out. Nothing here can be a script: attributes of events are not among them. */
export type Attributes = Readonly<Record<string, string | undefined>>;

/** An element with its content. Text is always text, whatever is in it. */
export function el<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  return fill(element, attributes, children);
}

/** The same for SVG. */
export function svg<K extends keyof SVGElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

function fill<E extends Element>(element: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** An element of index.html. */
export function byId<E extends HTMLElement>(id: string, type: new () => E): E {
  const element = document.getElementById(id);
  if (element instanceof type) return element;
  throw new Error(`the page has no ${id}`);
}

/** A table that reads as a list of cards where there is little room. */
export function table(
  caption: string,
  columns: readonly { readonly title: string; readonly isNumber?: boolean; readonly isId?: boolean }[],
  rows: readonly (readonly string[])[],
): HTMLTableElement {
  const kind = (index: number): string | undefined => {
    const column = columns[index];
    return column?.isNumber ? 'number' : column?.isId ? 'id' : undefined;
  };
  const head = columns.map(({ title }, index) =>
    el('th', { scope: 'col', class: columns[index]?.isNumber ? 'number' : undefined }, title),
  );
  const body = rows.map((row) => {
    const cells = row.map((text, index) => {
      const attributes = { class: kind(index), 'data-label': columns[index]?.title };
      return index === 0 ? el('th', { scope: 'row', ...attributes }, text) : el('td', attributes, text);
    });
    return el('tr', {}, ...cells);
  });
  return el(
    'table',
    {},
    el('caption', { class: 'visually-hidden' }, caption),
    el('thead', {}, el('tr', {}, ...head)),
    el('tbody', {}, ...body),
  );
}
