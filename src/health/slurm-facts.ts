import { basename, dirname, isAbsolute, join } from 'node:path';
import { namesIn, readSmall } from './places.js';

/** Where slurmd finds slurm.conf without SLURM_CONF: Slurm's own default, Debian's, and that of configless nodes. */
const USUAL_PLACES = ['/etc/slurm/slurm.conf', '/etc/slurm-llnl/slurm.conf', '/run/slurm/conf/slurm.conf'];

/** Deepest Include in slurm.conf that is followed. */
const MOST_DEPTH = 8;

/** What slurm.conf says, as far as checks ask. Names are in lower case, as Slurm does not tell cases apart. */
export class SlurmFacts {
  private constructor(
    readonly file: string,
    private readonly values: ReadonlyMap<string, string>,
    private readonly nodes: readonly ReadonlyMap<string, string>[],
  ) {}

  /** Undefined on a node without slurm.conf. */
  static read(files: readonly string[] = [process.env['SLURM_CONF'] ?? '', ...USUAL_PLACES]): SlurmFacts | undefined {
    for (const file of files.filter((path) => path !== '')) {
      const text = readSmall(file);
      if (text === undefined) continue;
      const values = new Map<string, string>();
      const nodes: ReadonlyMap<string, string>[] = [];
      for (const line of linesOf(text, dirname(file), 0)) {
        const words = wordsOf(line);
        const [first] = words;
        const [name, value] = first ?? ['', ''];
        if (name === 'nodename') nodes.push(new Map(words));
        else if (name !== '') values.set(name, value);
      }
      return new SlurmFacts(file, values, nodes);
    }
    return undefined;
  }

  get(name: string): string | undefined {
    return this.values.get(name.toLowerCase());
  }

  /** Is one of these words among the comma-separated ones of a parameter? */
  mentions(name: string, word: string): boolean {
    const words = (this.get(name) ?? '').toLowerCase().split(',');
    return words.some((one) => one === word || one.startsWith(`${word}=`));
  }

  /** plugstack.conf, unless told otherwise beside slurm.conf. */
  get plugstack(): string {
    return this.get('PlugStackConfig') ?? join(dirname(this.file), 'plugstack.conf');
  }

  /** A parameter of the line that has this host, NodeName=DEFAULT lines before it included. */
  ofNode(host: string, name: string): string | undefined {
    let usual: string | undefined;
    for (const node of this.nodes) {
      const value = node.get(name.toLowerCase());
      const names = node.get('nodename') ?? '';
      if (names.toLowerCase() === 'default') usual = value ?? usual;
      else if (hostlistHas(names, host) || hostlistHas(node.get('nodehostname') ?? '', host)) return value ?? usual;
    }
    return undefined;
  }
}

/** Lines without comments, continued ones joined, Include followed. */
export function* linesOf(text: string, directory: string, depth: number): Generator<string> {
  for (const raw of text.replace(/\\\r?\n/g, ' ').split('\n')) {
    const line = raw.replace(/(^|[^\\])#.*$/, '$1').trim();
    const [, included] = /^include\s+(\S+)$/i.exec(line) ?? [];
    if (included !== undefined && depth < MOST_DEPTH) {
      const path = isAbsolute(included) ? included : join(directory, included);
      for (const each of matching(path)) yield* linesOf(readSmall(each) ?? '', directory, depth + 1);
    } else if (line !== '') {
      yield line;
    }
  }
}

/** The files that an include means: in plugstack.conf the last part of its path may have * and ?. */
function matching(path: string): string[] {
  const name = basename(path);
  if (!/[*?]/.test(name)) return [path];
  const literal = name.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  const expression = new RegExp(`^(?!\\.)${literal.replaceAll('*', '.*').replaceAll('?', '.')}$`);
  const directory = dirname(path);
  return namesIn(directory)
    .filter((each) => expression.test(each))
    .map((each) => join(directory, each));
}

function wordsOf(line: string): [string, string][] {
  const words = line.matchAll(/(\w+)\s*=\s*("[^"]*"|\S+)/g);
  return [...words].map(([, name = '', value = '']) => [name.toLowerCase(), value.replaceAll('"', '')]);
}

/** Is the host in a list like "n[1-4,07],login"? */
export function hostlistHas(list: string, host: string): boolean {
  const entries = list.match(/[^,[]+(?:\[[^\]]*\][^,[]*)*/g) ?? [];
  return entries.some((entry) => {
    const ranges: string[] = [];
    const pattern = entry
      .split(/(\[[^\]]*\])/)
      .map((part) => {
        if (!part.startsWith('[')) return part.replace(/[.*+?^${}()|\\]/g, '\\$&');
        ranges.push(part.slice(1, -1));
        return '(\\d+)';
      })
      .join('');
    const found = new RegExp(`^${pattern}$`).exec(host);
    return found !== null && ranges.every((range, i) => rangesHave(range, found[i + 1] ?? ''));
  });
}

function rangesHave(ranges: string, digits: string): boolean {
  return ranges.split(',').some((range) => {
    const [low = '', high = low] = range.split('-');
    const isPadded = low.length > 1 && low.startsWith('0');
    const fits = isPadded ? digits.length === low.length : String(Number(digits)) === digits;
    return fits && Number(digits) >= Number(low) && Number(digits) <= Number(high);
  });
}
