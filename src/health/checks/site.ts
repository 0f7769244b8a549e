import { basename, dirname } from 'node:path';
import { runInNewContext } from 'node:vm';
import { getStaticTOMLValue, parseTOML } from 'toml-eslint-parser';
import { USUAL_SITE_CHECKS } from '../../config/index.js';
import { reasonOf, systemWords } from '../../errors/index.js';
import { fail, pass, SITE_DIRECTORY_ID, unknown, warn, type Check, type Context, type Verdict } from '../check.js';
import { literally, ProbeFailure, type Listed, type ProbeSession } from '../probe.js';

/** Most bytes of a rule, and of what a site's program writes. */
const MOST_BYTES = 64 * 1024;

/** Milliseconds a site's program may take: a little less than a check, so that it is ended and not given up. */
const PROGRAM_LIMIT = 4_500;

/** Milliseconds that a rule's pattern may take: some take years for a text that does not quite fit. */
const PATTERN_LIMIT = 250;

/** What to do about a file that others may have written. */
const SAFE =
  'it runs as root: a file of root, mode 0755, in a directory that root alone may write to, as to all directories above it';

/** What a rule may say. */
const RULE_KEYS = ['file', 'matches', 'matches_not', 'at_least', 'at_most', 'severity', 'matters', 'hint'] as const;

interface Rule {
  readonly file: string;
  readonly matches: RegExp | undefined;
  readonly matchesNot: RegExp | undefined;
  readonly atLeast: number | undefined;
  readonly atMost: number | undefined;
  readonly severity: 'warn' | 'fail';
  readonly matters: string;
  readonly hint: string;
}

/**
 * The site's own checks: a file in the directory each, executable or NAME.toml. They run as root, so whoever could write
 * there, or put another directory in its place, would be root: what does not belong to root alone is a finding and is not
 * run. berthd itself reads nothing there: it may be on a server that does not answer.
 *
 * @param usual where the directory may be missing. Elsewhere that does not mean that there are no checks: a node that was
 *   drained for one would come back because a file system is not mounted.
 */
export async function siteChecks(directory: string, probe: ProbeSession, usual = USUAL_SITE_CHECKS): Promise<Check[]> {
  // Most nodes have none. Nobody has said that there are checks; a link that leads nowhere says so.
  if (directory === usual && !(await isNamed(directory, probe))) return [];
  // At once, as both wait where a server does not answer.
  const [facts, resolved] = await Promise.allSettled([probe.stat(directory), probe.real(directory)]);
  if (facts.status === 'rejected') {
    const isMissing = facts.reason instanceof ProbeFailure && facts.reason.code === 'ENOENT';
    return [unreadable(directory, isMissing ? 'it is not there, or not mounted' : reasonOf(facts.reason))];
  }
  if (!facts.value.isDirectory) return [unreadable(directory, 'it is not a directory')];
  if (resolved.status === 'rejected') return [unreadable(directory, reasonOf(resolved.reason))];
  const real = resolved.value;
  const way = [...new Set([directory, real].flatMap(wayTo))];
  const [above, listing] = await Promise.allSettled([
    probe.list(...way.map(literally)),
    probe.list(`${literally(real)}/*`),
  ]);
  if (above.status === 'rejected') return [unreadable(directory, reasonOf(above.reason))];
  if (listing.status === 'rejected') return [unreadable(directory, reasonOf(listing.reason))];
  const open = above.value.find((one) => isOpen(one, one.path === real));
  const files = listing.value;
  const ids = new Set<string>();
  return files
    .filter(({ path }) => !/[~#]$|\.(dpkg|rpm)[\w-]*$/.test(path))
    .map((file) => {
      const plain = idOf(file.path);
      let id = plain;
      for (let number = 2; ids.has(id); number++) id = `${plain}-${number}`;
      ids.add(id);
      return siteCheck(id, file, open);
    });
}

function unreadable(directory: string, reason: string): Check {
  return {
    id: SITE_DIRECTORY_ID,
    family: 'site',
    reads: directory,
    rule: 'it is a directory that can be read',
    matters: "none of the site's own checks is done",
    hint: 'mount or make the directory, or correct [health] site_checks, which is empty where there are no such checks',
    run: () => unknown(`the site's own checks are not known: ${directory}: ${reason}`),
  };
}

function idOf(path: string): string {
  return `site-${basename(path, '.toml')
    .replace(/[^A-Za-z0-9]+/g, '-')
    .toLowerCase()}`;
}

function siteCheck(id: string, file: Listed, open: Listed | undefined): Check {
  const { path } = file;
  const isRule = path.endsWith('.toml');
  return {
    id,
    family: 'site',
    reads: path,
    rule: "the site's own",
    matters: 'the site says so',
    hint: `it is the site's own check ${path}`,
    run: (context) => unsafe(file, open) ?? (isRule ? follow(path, context) : run(file, context)),
  };
}

/** Is there anything of this name, if only a link? So it is taken to be where that cannot be found out. */
function isNamed(path: string, probe: ProbeSession): Promise<boolean> {
  return probe.list(literally(path)).then(
    (found) => found.length > 0,
    () => true,
  );
}

/** A path and all directories above it. */
function wayTo(path: string): string[] {
  const above = dirname(path);
  return above === path ? [path] : [path, ...wayTo(above)];
}

/**
 * May others than root put something else there? Of a directory on the way that has the sticky bit, as /tmp, nobody but its
 * owner can take what is root's.
 */
function isOpen({ type, uid, mode }: Listed, isLast: boolean): boolean {
  if (uid !== 0) return true;
  // Its mode says nothing; the directory that it is in does.
  if (type === 'link') return false;
  return (mode & 0o022) !== 0 && (isLast || (mode & 0o1000) === 0);
}

/** @param above what others may write to of the directory of the site's checks, and of the way there. */
function unsafe(file: Listed, above: Listed | undefined): Verdict | undefined {
  if (file.type !== 'file') return { ...unknown(`not run: ${file.path} is not a regular file`), hint: SAFE };
  const open = isOpen(file, true) ? file : above;
  return open && { ...unknown(`not run: others than root may write to ${open.path}`), hint: SAFE };
}

/** Exit status 0, 1, 2 is pass, warn, fail, as for Nagios; the first line of output is what is shown. */
async function run({ path, mode }: Listed, { probe }: Context): Promise<Verdict> {
  if ((mode & 0o100) === 0) {
    const hint = 'chmod 755 makes it a program; the name of a rule ends with .toml';
    return { ...unknown(`not run: ${path} is neither executable nor a .toml rule`), hint };
  }
  try {
    const { status, output } = await probe.run([path], { limit: PROGRAM_LIMIT, most: MOST_BYTES });
    const text = output.split('\n')[0]?.trim() || `it ended with ${status}`;
    if (status === 0) return pass(text);
    if (status === 1) return warn(text);
    return status === 2 ? fail(text) : unknown(text);
  } catch (error) {
    if (error instanceof ProbeFailure) return unknown(error.message);
    throw error;
  }
}

async function follow(path: string, { probe }: Context): Promise<Verdict> {
  const { files } = await probe.read([literally(path)]);
  const [{ content, code = 'ENOENT' } = { content: undefined }] = files;
  if (content === undefined) return unknown(`not run: ${path}: ${systemWords(code)}`);
  let rule: Rule;
  try {
    rule = parseRule(content);
  } catch (error) {
    return { ...unknown(`not run: ${path}: ${reasonOf(error)}`), hint: 'docs/health.md tells what a rule may say' };
  }
  return { ...(await judge(rule, probe)), hint: rule.hint };
}

async function judge(rule: Rule, probe: ProbeSession): Promise<Verdict> {
  const bad = (text: string): Verdict => ({ status: rule.severity, text });
  try {
    const { files } = await probe.read([rule.file]);
    if (files.length === 0) return bad(`${rule.file} is not there`);
    for (const { path: file, content } of files) {
      if (content === undefined) return bad(`${file} cannot be read`);
      const fault = faultOf(rule, content.trim());
      if (fault !== undefined) return bad(`${file} ${fault}`);
    }
    return pass(`${rule.file} is as it should be`);
  } catch (error) {
    if (error instanceof ProbeFailure)
      return error.kind === 'silent' ? bad(`${rule.file}: ${error.message}`) : unknown(error.message);
    throw error;
  }
}

/**
 * What is wrong with a file's content; undefined when nothing is.
 *
 * @throws Error when its pattern does not come to an end.
 */
export function faultOf({ matches, matchesNot, atLeast, atMost }: Rule, content: string): string | undefined {
  const shown = content.length > 60 ? `${content.slice(0, 57)}…` : content;
  if (matches && !fits(matches, content)) return `is "${shown}", which does not match ${matches.source}`;
  if (matchesNot && fits(matchesNot, content)) return `is "${shown}", which matches ${matchesNot.source}`;
  if (atLeast === undefined && atMost === undefined) return undefined;
  const [value] = content.split(/\s/, 1).map(Number);
  if (value === undefined || Number.isNaN(value)) return `is "${shown}", which does not begin with a number`;
  if (atLeast !== undefined && value < atLeast) return `is ${value}, less than ${atLeast}`;
  return atMost !== undefined && value > atMost ? `is ${value}, more than ${atMost}` : undefined;
}

/** berthd serves launches, which a pattern of the site's and a content of anybody's must not hold up. */
function fits(pattern: RegExp, content: string): boolean {
  try {
    return Boolean(runInNewContext('pattern.test(content)', { pattern, content }, { timeout: PATTERN_LIMIT }));
  } catch (error) {
    throw new Error(`it takes too long to find out whether the file matches ${pattern.source}`, { cause: error });
  }
}

/** @throws Error telling what is wrong with the rule. */
export function parseRule(text: string): Rule {
  if (text.length > MOST_BYTES) throw new Error(`longer than ${MOST_BYTES} bytes`);
  const values: Readonly<Record<string, unknown>> = getStaticTOMLValue(parseTOML(text, { tomlVersion: '1.0' }));
  const strange = Object.keys(values).find((key) => !RULE_KEYS.some((known) => known === key));
  if (strange !== undefined) throw new Error(`a rule has no key ${strange}: its keys are ${RULE_KEYS.join(', ')}`);
  const word = (key: (typeof RULE_KEYS)[number]): string | undefined => {
    const value = values[key];
    if (value !== undefined && typeof value !== 'string') throw new Error(`${key} is to be a string`);
    return value;
  };
  const number = (key: (typeof RULE_KEYS)[number]): number | undefined => {
    const value = values[key];
    if (value !== undefined && typeof value !== 'number') throw new Error(`${key} is to be a number`);
    return value;
  };
  const pattern = (key: 'matches' | 'matches_not'): RegExp | undefined => {
    const source = word(key);
    return source === undefined ? undefined : new RegExp(source);
  };
  const { file = '', severity = 'fail' } = { file: word('file'), severity: word('severity') };
  if (!file.startsWith('/')) throw new Error('file is to be an absolute path');
  if (severity !== 'fail' && severity !== 'warn') throw new Error('severity is to be "warn" or "fail"');
  return {
    file,
    severity,
    matches: pattern('matches'),
    matchesNot: pattern('matches_not'),
    atLeast: number('at_least'),
    atMost: number('at_most'),
    matters: word('matters') ?? '',
    hint: word('hint') ?? "this is the site's own rule",
  };
}
