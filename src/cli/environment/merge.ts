import { dirname } from 'node:path';
import { BerthError } from '../../errors/index.js';
import { excludeEachOther, parseOptions, type WrittenOption } from '../../options/index.js';
import { readDefinition, type Definition } from './definition.js';
import { findDefinition, readDefinitionFile } from './search.js';

/** How deep definition files may build on others: as CSCS's container engine has it. */
const DEEPEST = 10;

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * A definition with those it builds on: what it says replaces what they say, its mounts, modules, variables and
 * annotations are added to theirs.
 *
 * @param text a path, or a name
 * @param beside where a path is relative to
 * @throws BerthError BERTH_ENVIRONMENT_UNKNOWN, BERTH_ENVIRONMENT_INVALID
 */
export function loadDefinition(
  text: string,
  beside: string,
  variables: Variables,
  below: readonly string[] = [],
): Definition {
  const file = findDefinition(text, beside, variables);
  if (below.includes(file)) throw invalid(file, 1, 'base_environment leads back here', [...below, file].join(' → '));
  if (below.length > DEEPEST)
    throw invalid(file, 1, 'base_environment leads too deep', `at most ${DEEPEST} files deep`);
  const { definition, problems } = readDefinition(file, readDefinitionFile(file));
  const [problem] = problems;
  if (problem) throw invalid(file, problem.line, problem.what, problem.why);
  const bases = definition.base.map((base) => loadDefinition(base, dirname(file), variables, [...below, file]));
  return bases.length === 0 ? definition : [...bases, definition].reduce(over);
}

function over(base: Definition, definition: Definition): Definition {
  return {
    ...base,
    ...definition,
    base: [],
    mounts: [...new Set([...base.mounts, ...definition.mounts])],
    modules: [...new Set([...base.modules, ...definition.modules])],
    env: { ...base.env, ...definition.env },
    annotations: { ...base.annotations, ...definition.annotations },
  };
}

/**
 * What a definition means here: `${NAME}` stands for a variable of the caller's.
 *
 * @throws BerthError BERTH_ENVIRONMENT_INVALID for a variable that is not set
 */
export function expandDefinition(definition: Definition, variables: Variables): Definition {
  const expand = (text: string): string => expandText(text, definition, variables);
  const { image, workdir, writable } = definition;
  return {
    ...definition,
    ...(image === undefined ? {} : { image: expand(image) }),
    ...(workdir === undefined ? {} : { workdir: expand(workdir) }),
    ...(typeof writable === 'string' ? { writable: expand(writable) } : {}),
    mounts: definition.mounts.map(expand),
    env: Object.fromEntries(Object.entries(definition.env).map(([name, value]) => [name, expand(value)])),
  };
}

function expandText(text: string, { file }: Definition, variables: Variables): string {
  return text.replace(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, name: string) => {
    const value = variables[name];
    if (value === undefined) throw invalid(file, 1, `it says ${text}`, `the variable ${name} is not set`);
    return value;
  });
}

/**
 * What a definition means to a command that is given it where it runs.
 *
 * @throws BerthError as {@link loadDefinition} and {@link expandDefinition}
 */
export function definitionHere(text: string): Definition {
  return expandDefinition(loadDefinition(text, process.cwd(), process.env), process.env);
}

/** What of a definition cannot be used, beyond the form of its files: each value by itself, then all of them together. */
export function faultsOf(definition: Definition, variables: Variables): BerthError[] {
  const faults: BerthError[] = [];
  const collect = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      if (!faults.some(({ message }) => message === error.message)) faults.push(error);
      return undefined;
    }
  };
  for (const option of optionsOf(definition)) {
    const value = collect(() => expandText(option.value, definition, variables));
    if (value !== undefined && option.name !== 'image') collect(() => parseOptions([{ ...option, value }]));
  }
  // What does not fit together is looked for where each fits by itself.
  if (faults.length === 0) {
    const options = optionsOf(expandDefinition(definition, variables));
    collect(() => parseOptions(options.filter(({ name }) => name !== 'image')));
  }
  return faults;
}

/** A definition as options of srun; its image is one of them. */
export function optionsOf(definition: Definition): WrittenOption[] {
  const { image, mounts, workdir, entrypoint, writable, root, home, modules, env } = definition;
  const option = (name: string, value = ''): WrittenOption => ({ name, value });
  const either = (value: boolean | undefined, yes: string, no: string): WrittenOption[] =>
    value === undefined ? [] : [option(value ? yes : no)];
  return [
    ...(image === undefined ? [] : [option('image', image)]),
    ...mounts.map((mount) => option('mount', mount)),
    ...(workdir === undefined ? [] : [option('container-workdir', workdir)]),
    ...either(entrypoint, 'container-entrypoint', 'no-container-entrypoint'),
    ...(typeof writable === 'string'
      ? [option('container-writable', writable)]
      : either(writable, 'container-writable', 'container-readonly')),
    ...either(root, 'container-remap-root', 'no-container-remap-root'),
    ...either(home, 'container-mount-home', 'no-container-mount-home'),
    ...(modules.length === 0 ? [] : [option('module', modules.join(','))]),
    ...Object.entries(env).map(([name, value]) => option('env', `${name}=${value}`)),
  ];
}

/** Options of a command line beside those of its definition: they count first; volumes, modules and variables are added. */
export function withDefinition(definition: readonly WrittenOption[], own: readonly WrittenOption[]): WrittenOption[] {
  const kept = definition.filter(({ name }) => !own.some((option) => excludeEachOther(name, option.name)));
  return [...kept, ...own];
}

function invalid(file: string, line: number, what: string, why: string): BerthError {
  return new BerthError('BERTH_ENVIRONMENT_INVALID', { file, line, what, why });
}
