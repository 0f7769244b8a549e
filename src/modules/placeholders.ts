/** What stands for something of the user's or the job's in paths and values of a module, as in those of [container]. */
export interface Placeholders {
  readonly user: string;
  readonly uid: number;
  readonly home: string;
  /** 0 where there is no job. */
  readonly jobId: number;
}

/** As messages list them. */
export const PLACEHOLDERS =
  '%u (the user), %U (their uid), %h (their home directory), %j (the job) and %% (a percent sign)';

/** Has the text a percent sign that stands for nothing? */
export function hasStrayPercent(text: string): boolean {
  return /%(?![uUhj%])/.test(text.replaceAll('%%', ''));
}

/** The text with what its placeholders stand for. */
export function fillIn(text: string, { user, uid, home, jobId }: Placeholders): string {
  const words: Readonly<Record<string, string>> = {
    '%u': user,
    '%U': String(uid),
    '%h': home,
    '%j': String(jobId),
    '%%': '%',
  };
  return text.replace(/%[uUhj%]/g, (word) => words[word] ?? word);
}

/**
 * The path with what its placeholders stand for; undefined where one of them cannot be a part of a path: then it would be
 * another path than the module's author meant.
 */
export function fillInPath(path: string, values: Placeholders): string | undefined {
  if (!path.includes('%')) return path;
  const { user, home } = values;
  if (path.includes('%u') && (/[/\0]/.test(user) || /^\.{0,2}$/.test(user))) return undefined;
  if (path.includes('%h') && (!home.startsWith('/') || home === '/' || home.split('/').includes('..')))
    return undefined;
  return fillIn(path, values);
}
