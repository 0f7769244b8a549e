/** Tokens that were entered, for as long as this window is open. They are in no address, and no cookie. */
const PREFIX = 'berth.token.';

export function tokenFor(origin: string): string | undefined {
  return sessionStorage.getItem(PREFIX + origin) ?? undefined;
}

export function keepToken(origin: string, token: string): void {
  sessionStorage.setItem(PREFIX + origin, token);
}

export function forgetToken(origin: string): void {
  sessionStorage.removeItem(PREFIX + origin);
}

export function forgetTokens(): void {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
  }
}

/** How a token goes along with a WebSocket, which a browser lets have no header of its own. */
export function tokenProtocol(token: string): string {
  const bytes = new TextEncoder().encode(token);
  const base64 = btoa(String.fromCharCode(...bytes));
  return `berth.token.${base64.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')}`;
}
