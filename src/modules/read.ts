import * as forms from './forms.js';
import type { Automatic, Module, ModuleCdi, ModuleChange, ModuleCopy, ModuleMount, ModuleMpi } from './module.js';
import { Table } from './table.js';
import { Document, NotToml, type Problem } from './toml.js';

/** A module's file, read. With problems, what is wrong in it is left out of the module. */
export interface ReadModule {
  readonly module: Module;
  /** In the order of its lines. */
  readonly problems: readonly Problem[];
}

/** Reads the text of a module's file. Never throws for a bad text. */
export function readModule(name: string, file: string, text: string): ReadModule {
  const problems: Problem[] = [];
  let root: Table | undefined;
  try {
    const document = new Document(text);
    root = new Table(document, document.values, [], problems);
  } catch (error) {
    if (!(error instanceof NotToml)) throw error;
    problems.push(error.problem);
  }
  const module = readRoot(name, file, root ?? emptyTable());
  return { module, problems: problems.toSorted((a, b) => a.line - b.line) };
}

function emptyTable(): Table {
  return new Table(new Document(''), {}, [], []);
}

function readRoot(name: string, file: string, root: Table): Module {
  const cdi = root.table('cdi');
  const mpi = root.table('mpi');
  const environment = root.table('environment');
  const module: Module = {
    name,
    file,
    description: root.text('description', forms.anyText) ?? '',
    automatic: readAutomatic(root),
    mandatory: root.flag('mandatory', false),
    requires: root.list('requires', forms.moduleName),
    conflicts: root.list('conflicts', forms.moduleName),
    after: root.list('after', forms.moduleName),
    accounts: root.list('accounts', forms.accountName),
    mounts: root.tables('mounts').flatMap(readMount),
    copies: root.tables('copies').flatMap(readCopy),
    environment: environment ? readEnvironment(environment) : [],
    devices: root.list('devices', forms.pattern),
    ...(cdi ? readCdi(cdi) : {}),
    ...(mpi ? readMpi(mpi) : {}),
  };
  if (module.mandatory && module.automatic === 'never')
    root.problem(
      ['mandatory'],
      'mandatory is true, but the module is never used by itself',
      'expected automatic to say when',
    );
  for (const key of ['requires', 'conflicts', 'after'] as const) {
    if (module[key].includes(name)) root.problem([key], `${key} names the module itself`, 'expected others');
  }
  const both = module.requires.find((needed) => module.conflicts.includes(needed));
  if (both !== undefined)
    root.problem(['conflicts'], `${both} is among requires and conflicts`, 'expected it in one of them');
  root.finish();
  return module;
}

function readAutomatic(root: Table): Automatic {
  if (!root.isTable('automatic')) return root.text('automatic', forms.oneOf(['never', 'always'])) ?? 'never';
  const table = root.table('automatic');
  if (!table) return 'never';
  const path = table.text('path', forms.pattern);
  const device = table.text('device', forms.pattern);
  table.finish();
  if (table.has('path') === table.has('device')) {
    table.problem([], 'automatic has not one condition', 'expected { path = … } or { device = … }');
    return 'never';
  }
  return path === undefined ? (device === undefined ? 'never' : { device }) : { path };
}

function readMount(table: Table): ModuleMount[] {
  const source = table.required('source', forms.patternWithPlaceholders);
  const destination = table.text('destination', forms.destination);
  const mount = {
    readOnly: table.flag('read_only', false),
    optional: table.flag('optional', false),
    recursive: table.flag('recursive', true),
    propagation: table.text('propagation', forms.oneOf(['slave', 'private'])) ?? 'slave',
  };
  refuseReservedSource(table, source);
  table.finish();
  return source === undefined ? [] : [{ source, ...(destination === undefined ? {} : { destination }), ...mount }];
}

function readCopy(table: Table): ModuleCopy[] {
  const source = table.required('source', forms.pattern);
  const destination = table.text('destination', forms.destination);
  const optional = table.flag('optional', false);
  refuseReservedSource(table, source);
  table.finish();
  return source === undefined ? [] : [{ source, ...(destination === undefined ? {} : { destination }), optional }];
}

/** Without a destination, the source's own path is that. */
function refuseReservedSource(table: Table, source: string | undefined): void {
  if (source === undefined || table.has('destination') || !forms.isReserved(source)) return;
  table.problem(
    ['source'],
    `${source} would be mounted at its own path`,
    `expected a destination: ${forms.destination.expected}`,
  );
}

function readEnvironment(table: Table): ModuleChange[] {
  const unset = table.list('unset', forms.variable);
  const separators = new Map(table.texts('separators', forms.variable, forms.character));
  const change = (kind: 'set' | 'set_if_unset' | 'prepend' | 'append'): ModuleChange[] => {
    const joins = kind === 'prepend' || kind === 'append';
    const all = table.texts(kind, forms.variable, forms.value);
    return all.map(([name, value]) => ({ kind, name, value, separator: joins ? (separators.get(name) ?? ':') : '' }));
  };
  const changes: ModuleChange[] = [
    ...unset.map((name) => ({ kind: 'unset', name, value: '', separator: '' }) as const),
    ...change('set'),
    ...change('set_if_unset'),
    ...change('prepend'),
    ...change('append'),
  ];
  const decided = changes.filter(({ kind }) => kind === 'unset' || kind === 'set' || kind === 'set_if_unset');
  for (const [index, { kind, name }] of decided.entries()) {
    const before = decided.slice(0, index).find((other) => other.name === name);
    if (before) table.problem([kind], `${name} is in ${before.kind} and in ${kind}`, 'expected it in one of them');
  }
  for (const name of separators.keys()) {
    if (!changes.some((each) => each.name === name && each.separator !== ''))
      table.problem(['separators', name], `${name} has a separator`, 'expected it in prepend or append too');
  }
  table.finish();
  return changes;
}

function readCdi(table: Table): { cdi?: ModuleCdi } {
  const kind = table.required('kind', forms.cdiKind);
  const named = table.isArray('devices');
  const devices = named
    ? table.list('devices', forms.cdiDevice)
    : (table.text('devices', forms.oneOf(['granted'])) ?? 'granted');
  table.finish();
  return kind === undefined ? {} : { cdi: { kind, devices } };
}

function readMpi(table: Table): { mpi?: ModuleMpi } {
  const libraries = table.list('libraries', forms.path);
  if (libraries.length === 0)
    table.problem([], `${table.title} has no libraries`, 'expected libraries = ["/…/libmpi.so.12"]');
  const mpi = {
    libraries,
    aliases: table.list('aliases', forms.soname),
    components: table.list('components', forms.path),
    keep: table.list('keep', forms.soname),
    check: table.text('check', forms.oneOf(['version', 'soname'])) ?? 'version',
  };
  table.finish();
  return { mpi };
}
