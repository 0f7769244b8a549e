import table from './errors.json' with { type: 'json' };
import type { ErrorCode } from './generated/codes.js';
import { reasonOf } from './thrown.js';

export type { ErrorCode };
export { errorCode, reasonOf, systemWords } from './thrown.js';

interface Row {
  readonly code: string;
  readonly exit: number;
  readonly what: string;
  readonly why: string;
  readonly hint: string;
}

const rows: readonly Row[] = table;
const byCode = new Map(rows.map((row) => [row.code, row]));

/** Every row of the table, for documentation and its test. */
export function errorTable(): readonly Row[] {
  return rows;
}

/** What the user sees of an error, and what travels in a reply. */
export interface ErrorMessage {
  readonly code: string;
  readonly exitStatus: number;
  readonly what: string;
  readonly why: string;
  readonly hint: string;
}

/**
 * An error a user or an administrator can act on. `parameters` fill the braces of the table's row; a missing one is a
 * mistake of the program and shows as the bare braces rather than throwing, so that reporting an error never fails.
 */
export class BerthError extends Error implements ErrorMessage {
  readonly code: string;
  readonly exitStatus: number;
  readonly what: string;
  readonly why: string;
  readonly hint: string;

  constructor(code: ErrorCode, parameters: Readonly<Record<string, string | number>>, options?: { cause?: unknown }) {
    const row = byCode.get(code) ?? { code, exit: 1, what: code, why: '{why}', hint: '' };
    const what = fill(row.what, parameters);
    const why = fill(row.why, parameters);
    super(`${code}: ${what}: ${why}`, options);
    this.name = 'BerthError';
    this.code = code;
    this.exitStatus = row.exit;
    this.what = what;
    this.why = why;
    this.hint = fill(row.hint, parameters);
  }
}

/** An error that arrived in a reply: the words are the sender's. */
export class RemoteError extends Error implements ErrorMessage {
  readonly code: string;
  readonly exitStatus: number;
  readonly what: string;
  readonly why: string;
  readonly hint: string;

  constructor(message: ErrorMessage) {
    super(`${message.code}: ${message.what}: ${message.why}`);
    this.name = 'RemoteError';
    this.code = message.code;
    this.exitStatus = message.exitStatus;
    this.what = message.what;
    this.why = message.why;
    this.hint = message.hint;
  }
}

/** Turns whatever was thrown into an error of the table; the unknown becomes BERTH_INTERNAL. */
export function toErrorMessage(thrown: unknown): ErrorMessage {
  if (thrown instanceof BerthError || thrown instanceof RemoteError) return thrown;
  return new BerthError('BERTH_INTERNAL', { what: 'an unexpected failure', why: reasonOf(thrown) }, { cause: thrown });
}

/** The lines a terminal shows, without a trailing newline. */
export function formatError(error: ErrorMessage): string {
  return [`berth: ${error.code}: ${error.what}`, `berth:   why: ${error.why}`, `berth:   hint: ${error.hint}`].join(
    '\n',
  );
}

function fill(template: string, parameters: Readonly<Record<string, string | number>>): string {
  return template.replace(/\{(\w+)\}/g, (braces, key: string) => {
    const value = parameters[key];
    return value === undefined ? braces : printable(String(value));
  });
}

/** Names from users and images reach administrators' terminals and logs: no control characters in them. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
