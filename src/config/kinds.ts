import { posix } from 'node:path';
import type { AST } from 'toml-eslint-parser';

/** An absolute path without a slash at its end, save the root directory itself. */
export const ABSOLUTE = /^\/(?:[^\0]*[^/\0])?$/;

/** Thrown by a kind's `read`: what it expected, in words that follow "expected". */
export class Unfit extends Error {
  constructor(
    message: string,
    /** The part of the value that is at fault, when it is not the whole. */
    readonly node?: AST.TOMLContentNode,
    /** What else is wrong with the same value. */
    readonly more: readonly Unfit[] = [],
  ) {
    super(message);
  }
}

/** What a key's value may be. */
export interface Kind<T> {
  /** Its type and bounds in words, e.g. "whole number from 1 to 22". */
  readonly expected: string;
  readonly default: T;
  /** One paragraph of Markdown: what the key does, its unit, when to change it. */
  readonly description: string;
  /** @throws Unfit */
  readonly read: (node: AST.TOMLContentNode) => T;
  /** The value as TOML. A method, so that a kind of some type is a kind of unknown: a value only meets its own kind. */
  show(value: T): string;
}

/** What every row of the table gives beside its kind's own bounds. */
interface Row<T> {
  readonly default: T;
  readonly description: string;
}

export function flag(row: Row<boolean>): Kind<boolean> {
  const expected = 'true or false';
  return {
    ...row,
    expected,
    read: (node) => {
      if (node.type === 'TOMLValue' && node.kind === 'boolean') return node.value;
      throw new Unfit(expected);
    },
    show: String,
  };
}

export function integer(row: Row<number> & { readonly minimum: number; readonly maximum: number }): Kind<number> {
  const { minimum, maximum } = row;
  const expected = `a whole number from ${minimum} to ${maximum}`;
  return {
    ...row,
    expected,
    read: (node) => {
      if (node.type !== 'TOMLValue' || node.kind !== 'integer') throw new Unfit(expected);
      if (node.bigint < BigInt(minimum) || node.bigint > BigInt(maximum)) throw new Unfit(expected);
      return Number(node.bigint);
    },
    show: String,
  };
}

export function choice<const C extends readonly string[]>(choices: C, row: Row<NoInfer<C[number]>>): Kind<C[number]> {
  const expected = `one of ${choices.map(quote).join(', ')}`;
  return {
    ...row,
    expected,
    read: (node) => {
      const found = choices.find((one) => one === stringOf(node));
      if (found === undefined) throw new Unfit(expected);
      return found;
    },
    show: quote,
  };
}

/** An absolute path; with `orEmpty`, "" stands for none. */
export function absolutePath(row: Row<string> & { readonly orEmpty?: boolean }): Kind<string> {
  const expected = row.orEmpty ? 'an absolute path, or "" for none' : 'an absolute path';
  return {
    ...row,
    expected,
    read: (node) => {
      const text = stringOf(node);
      if (text === undefined) throw new Unfit(expected);
      if (text === '' && row.orEmpty) return text;
      return normalisedPath(text, expected);
    },
    show: quote,
  };
}

/** A text that matches `form`, or "" for none. */
export function text(row: Row<string> & { readonly what: string; readonly form: RegExp }): Kind<string> {
  const expected = `${row.what}, or "" for none`;
  return {
    ...row,
    expected,
    read: (node) => {
      const value = stringOf(node);
      if (value === undefined || (value !== '' && !row.form.test(value))) throw new Unfit(expected);
      return value;
    },
    show: quote,
  };
}

/** A list of texts that match `each`. */
export function list(
  row: Row<readonly string[]> & { readonly of: string; readonly each: RegExp },
): Kind<readonly string[]> {
  const expected = `an array of ${row.of}`;
  return {
    ...row,
    expected,
    read: (node) => {
      if (node.type !== 'TOMLArray') throw new Unfit(expected);
      return node.elements.map((element) => {
        const text = stringOf(element);
        if (text === undefined || !row.each.test(text)) throw new Unfit(expected, element);
        return text;
      });
    },
    show: (value) => `[${value.map(quote).join(', ')}]`,
  };
}

/** A bind mount that a site or a user asks for. */
export interface Mount {
  /** Absolute and normalised, on the host. */
  readonly source: string;
  /** Absolute and normalised, in the container. */
  readonly destination: string;
  readonly readOnly: boolean;
}

export function mounts(row: Row<readonly Mount[]>): Kind<readonly Mount[]> {
  const expected = 'an array of strings "SOURCE[:DESTINATION][:ro]"';
  return {
    ...row,
    expected,
    read: (node) => {
      if (node.type !== 'TOMLArray') throw new Unfit(expected);
      const taken = new Set<string>();
      const faults: Unfit[] = [];
      const read: Mount[] = [];
      for (const element of node.elements) {
        try {
          const mount = readMount(element, expected);
          if (taken.has(mount.destination)) throw new Unfit(`one mount at ${mount.destination}, not two`, element);
          taken.add(mount.destination);
          read.push(mount);
        } catch (error) {
          if (!(error instanceof Unfit)) throw error;
          faults.push(error);
        }
      }
      const [first, ...more] = faults;
      if (first) throw new Unfit(first.message, first.node, more);
      return read;
    },
    show: (value) => `[${value.map((mount) => quote(showMount(mount))).join(', ')}]`,
  };
}

function readMount(node: AST.TOMLContentNode, expected: string): Mount {
  const text = stringOf(node);
  if (text === undefined) throw new Unfit(expected, node);
  try {
    return parseMount(text);
  } catch (error) {
    throw error instanceof Unfit ? new Unfit(error.message, node) : error;
  }
}

/**
 * Reads "SOURCE[:DESTINATION][:ro]". The destination is the source's path when it is left out.
 *
 * @throws Unfit for a relative path, "..", or a destination that the container sets up itself.
 */
export function parseMount(text: string): Mount {
  const expected = 'SOURCE[:DESTINATION][:ro] with absolute paths';
  const parts = text.split(':');
  const readOnly = parts.length > 1 && parts.at(-1) === 'ro';
  if (readOnly) parts.pop();
  const [first, second] = parts;
  if (first === undefined || parts.length > 2) throw new Unfit(expected);
  const source = normalisedPath(first, expected);
  const destination = second === undefined ? source : normalisedPath(second, expected);
  const [, top, below] = destination.split('/');
  const own = top === '' || top === 'proc' || top === 'sys' || (top === 'dev' && below === undefined);
  if (own) throw new Unfit('a destination other than /, /dev and what is under /proc and /sys');
  return { source, destination, readOnly };
}

export function showMount({ source, destination, readOnly }: Mount): string {
  return [source, ...(destination === source ? [] : [destination]), ...(readOnly ? ['ro'] : [])].join(':');
}

function normalisedPath(text: string, expected: string): string {
  if (!text.startsWith('/') || text.includes('\0')) throw new Unfit(expected);
  if (text.split('/').includes('..')) throw new Unfit(`${expected}, without ".."`);
  const path = posix.normalize(text);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function stringOf(node: AST.TOMLContentNode): string | undefined {
  return node.type === 'TOMLValue' && node.kind === 'string' ? node.value : undefined;
}

/** A TOML basic string: JSON's escapes are a subset of TOML's, save DEL. */
function quote(text: string): string {
  return JSON.stringify(text).replaceAll('\x7f', '\\u007f');
}
