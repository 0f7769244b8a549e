import { tokenProtocol } from './tokens.js';
import type { Message } from './types.js';

/** The node does not take the token. */
export class TokenRefused extends Error {}

/** Something else than what was asked for came back. */
export class Failure extends Error {}

/** How long, in milliseconds, until a lost node is tried again: at first, and at most. */
const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;

/** How long, in milliseconds, a node may take for an answer: health checks have 20 s. */
const ANSWER_LIMIT = 30_000;

/** Asks a node for a document. */
export async function ask<T>(origin: string, token: string, path: string): Promise<T> {
  let response: Response;
  try {
    response = await fetch(origin + path, {
      headers: { Authorization: `Bearer ${token}` },
      cache: 'no-store',
      credentials: 'omit',
      signal: AbortSignal.timeout(ANSWER_LIMIT),
    });
  } catch {
    throw new Failure('the node does not answer');
  }
  if (response.status === 401) throw new TokenRefused('the node does not take this token');
  if (response.ok) return (await response.json()) as T;
  const { error } = (await response.json().catch(() => ({}))) as { error?: { why?: string } };
  throw new Failure(error?.why ?? `the node answered with status ${response.status}`);
}

/** What happens to a stream. */
export interface Listener {
  readonly begun: () => void;
  readonly told: (messages: readonly Message[]) => void;
  /** It ended, and is tried again. */
  readonly lost: (why: string) => void;
}

/** A node's events: all that it remembers, and then each as it comes; over restarts of the node too. */
export class Events {
  #socket: WebSocket | undefined;
  #cursor = 'oldest';
  #wait = FIRST_WAIT;
  #timer: number | undefined;
  #waiting: Message[] = [];
  #isClosed = false;

  constructor(
    private readonly origin: string,
    private readonly token: string,
    private readonly listener: Listener,
  ) {
    this.#open();
  }

  close(): void {
    this.#isClosed = true;
    window.clearTimeout(this.#timer);
    this.#socket?.close();
  }

  #open(): void {
    const address = `${this.origin.replace(/^http/, 'ws')}/v1/events?since=${encodeURIComponent(this.#cursor)}`;
    const socket = new WebSocket(address, ['berth.v1', tokenProtocol(this.token)]);
    this.#socket = socket;
    socket.addEventListener('open', () => {
      this.#wait = FIRST_WAIT;
      this.listener.begun();
    });
    socket.addEventListener('message', ({ data }) => {
      if (typeof data === 'string') this.#take(data);
    });
    socket.addEventListener('close', ({ reason }) => {
      if (this.#isClosed) return;
      this.listener.lost(reason || 'the node does not answer');
      this.#timer = window.setTimeout(() => {
        this.#open();
      }, this.#wait);
      this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT);
    });
  }

  /** What comes together is shown together. */
  #take(text: string): void {
    const message = JSON.parse(text) as Message;
    this.#cursor = message.cursor;
    this.#waiting.push(message);
    if (this.#waiting.length > 1) return;
    window.setTimeout(() => {
      const messages = this.#waiting;
      this.#waiting = [];
      this.listener.told(messages);
    }, 50);
  }
}
