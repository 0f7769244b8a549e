import { isIP } from 'node:net';
import { hostname } from 'node:os';

/**
 * The names under which this node is asked for, besides its addresses. A page of somebody else's whose name leads here
 * (DNS rebinding) asks by that name, and is refused.
 *
 * @param more [events] names
 */
export function ownNames(more: readonly string[]): ReadonlySet<string> {
  const name = hostname();
  return new Set([name, name.split('.')[0] ?? name, 'localhost', ...more].map((each) => each.toLowerCase()));
}

/** Does a Host header ask for this node? */
export function asksForUs(host: string | undefined, names: ReadonlySet<string>): boolean {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([^:]+))(?::\d{1,5})?$/.exec(host ?? '') ?? [];
  if (bracketed !== undefined) return isIP(bracketed) === 6;
  const name = (plain ?? '').toLowerCase().replace(/\.$/, '');
  return isIP(name) === 4 || names.has(name);
}

/** Where a browser says that a request comes from. */
export type Source = 'here' | 'allowed' | 'refused';

/**
 * @param origin the Origin header; programs send none.
 * @param here what our own page's is.
 * @param allowed [events] origins
 */
export function sourceOf(origin: string | undefined, here: string, allowed: readonly string[]): Source {
  if (origin === undefined || origin.toLowerCase() === here.toLowerCase()) return 'here';
  return allowed.includes(origin) ? 'allowed' : 'refused';
}
