import { Document, NotToml, Table, type Form, type Problem } from '../../modules/index.js';

/** One container definition file, as it is written. */
export interface Definition {
  readonly file: string;
  readonly base: readonly string[];
  readonly description?: string;
  readonly image?: string;
  readonly mounts: readonly string[];
  readonly workdir?: string;
  readonly entrypoint?: boolean;
  /** True, or a size or directory. */
  readonly writable?: boolean | string;
  readonly root?: boolean;
  readonly home?: boolean;
  readonly modules: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A definition and everything that is wrong with its file. */
export interface ReadDefinition {
  readonly definition: Definition;
  readonly problems: readonly Problem[];
}

const text: Form<string> = {
  expected: 'a text without control characters',
  read: (value) => (/\p{Cc}/u.test(value) || value === '' ? undefined : value),
};

const environmentValue: Form<string> = {
  expected: 'a text without control characters',
  read: (value) => (/\p{Cc}/u.test(value) ? undefined : value),
};

const variableName: Form<string> = {
  expected: 'the name of a variable',
  read: (value) => (/^[A-Za-z_][A-Za-z0-9_]*$/.test(value) ? value : undefined),
};

/** Reads a container definition file. Never throws for a bad text: what does not fit is left out of the definition. */
export function readDefinition(file: string, content: string): ReadDefinition {
  const problems: Problem[] = [];
  let document = new Document('');
  try {
    document = new Document(content);
  } catch (error) {
    if (!(error instanceof NotToml)) throw error;
    problems.push(error.problem);
  }
  const root = new Table(document, document.values, [], problems, 'the environment');
  const switched = <K extends string>(key: string, name: K): Partial<Record<K, boolean>> => {
    const value = root.flag(key, false);
    return root.has(key) ? ({ [name]: value } as Partial<Record<K, boolean>>) : {};
  };
  const worded = <K extends string>(key: string, name: K): Partial<Record<K, string>> => {
    const value = root.text(key, text);
    return value === undefined ? {} : ({ [name]: value } as Partial<Record<K, string>>);
  };
  const definition: Definition = {
    file,
    base: root.isArray('base_environment') ? root.list('base_environment', text) : oneOrNone(root),
    ...worded('description', 'description'),
    ...worded('image', 'image'),
    mounts: root.list('mounts', text),
    ...worded('workdir', 'workdir'),
    ...switched('entrypoint', 'entrypoint'),
    ...(typeof document.values['writable'] === 'string'
      ? worded('writable', 'writable')
      : switched('writable', 'writable')),
    ...switched('root', 'root'),
    ...switched('home', 'home'),
    modules: root.list('modules', text),
    env: Object.fromEntries(root.texts('env', variableName, environmentValue)),
    annotations: annotationsOf(root, document.values['annotations']),
  };
  root.finish();
  return { definition, problems: problems.toSorted((a, b) => a.line - b.line) };
}

function oneOrNone(root: Table): string[] {
  const base = root.text('base_environment', text);
  return base === undefined ? [] : [base];
}

/** They are for other programs: dotted keys are kept as one name. */
function annotationsOf(root: Table, value: unknown): Record<string, string> {
  if (!root.table('annotations')) return {};
  const found: Record<string, string> = {};
  const collect = (table: object, prefix: string): void => {
    for (const [key, each] of Object.entries(table)) {
      const name = prefix === '' ? key : `${prefix}.${key}`;
      if (typeof each === 'object' && each !== null && !Array.isArray(each)) collect(each as object, name);
      else found[name] = String(each);
    }
  };
  collect(value as object, '');
  return found;
}
