import { cdiDevice, cdiKind, isReserved, isVariableName, plainPath } from '../forms.js';

/** What one file says of the devices of one kind (Container Device Interface, SPEC.md 0.3.0 to 1.0.0). */
export interface Specification {
  readonly file: string;
  /** VENDOR/CLASS */
  readonly kind: string;
  readonly devices: readonly { readonly name: string; readonly edits: Edits }[];
  /** For every container that gets any of the devices. */
  readonly edits: Edits;
  /** What the file asks for and is not done, in words. */
  readonly notes: readonly string[];
}

/** What a container gets. */
export interface Edits {
  readonly variables: readonly { readonly name: string; readonly value: string }[];
  readonly deviceNodes: readonly { readonly path: string; readonly hostPath: string }[];
  readonly mounts: readonly CdiMount[];
  readonly hooks: readonly CdiHook[];
}

export interface CdiMount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly readOnly: boolean;
  readonly recursive: boolean;
}

/** A program that the runtime is to start for the container (OCI runtime specification, hooks). */
export interface CdiHook {
  readonly name: HookName;
  /** On the host. */
  readonly path: string;
  /** With the program's own name first. */
  readonly args: readonly string[];
  readonly env: readonly string[];
  /** Seconds. */
  readonly timeout: number | undefined;
}

const HOOK_NAMES = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'] as const;
export type HookName = (typeof HOOK_NAMES)[number];

/** Thrown for a file that cannot be used, in words that follow "why:". */
export class SpecificationFault extends Error {
  constructor(
    message: string,
    /** The kind that the file is about, as far as it says so. */
    readonly kind?: string,
  ) {
    super(message);
  }
}

/** Versions of the form that are known: of 1, later ones add and do not change. */
const VERSION = /^v?(?:0\.[3-8]\.0|1\.\d+\.\d+)$/;

const EDITS = new Set([
  'env',
  'deviceNodes',
  'mounts',
  'hooks',
  'additionalGids',
  'additionalGIDs',
  'intelRdt',
  'netDevices',
]);

/** @throws SpecificationFault */
export async function readSpecification(file: string, text: string): Promise<Specification> {
  const root = asTable(await parse(file, text), 'the file');
  const kind = typeof root['kind'] === 'string' ? cdiKind.read(root['kind']) : undefined;
  try {
    const version = asText(root['cdiVersion'], 'cdiVersion');
    if (!VERSION.test(version))
      throw new SpecificationFault(`cdiVersion is ${version}, which is none from 0.3.0 to 1.0.0`);
    if (kind === undefined) throw new SpecificationFault(`kind is ${shown(root['kind'])}, not ${cdiKind.expected}`);
    const notes = new Set<string>();
    const devices = asArray(root['devices'], 'devices').map((value, i) => readDevice(value, `devices[${i}]`, notes));
    if (devices.length === 0) throw new SpecificationFault('it describes no device');
    const twice = devices.find(({ name }, i) => devices.findIndex((each) => each.name === name) < i);
    if (twice) throw new SpecificationFault(`it describes the device ${twice.name} twice`);
    const edits = readEdits(root['containerEdits'] ?? {}, 'containerEdits', notes);
    return { file, kind, devices, edits, notes: [...notes] };
  } catch (error) {
    if (error instanceof SpecificationFault && kind !== undefined) throw new SpecificationFault(error.message, kind);
    throw error;
  }
}

async function parse(file: string, text: string): Promise<unknown> {
  try {
    if (file.endsWith('.json')) return JSON.parse(text) as unknown;
    // Most nodes have no such file and need no parser of them in memory.
    const yaml = await import('yaml');
    // Aliases in YAML can stand for more than there is memory: the parser counts them.
    return yaml.parse(text) as unknown;
  } catch (error) {
    const [words] = (error instanceof Error ? error.message : String(error)).split('\n');
    throw new SpecificationFault(`it is no ${file.endsWith('.json') ? 'JSON' : 'YAML'}: ${words ?? ''}`);
  }
}

function readDevice(value: unknown, at: string, notes: Set<string>): Specification['devices'][number] {
  const table = asTable(value, at);
  const name = asText(table['name'], `${at}.name`);
  if (cdiDevice.read(name) === undefined)
    throw new SpecificationFault(`${at}.name is ${shown(name)}, not ${cdiDevice.expected}`);
  return { name, edits: readEdits(table['containerEdits'], `${at}.containerEdits`, notes) };
}

function readEdits(value: unknown, at: string, notes: Set<string>): Edits {
  const table = asTable(value, at);
  for (const key of Object.keys(table)) if (!EDITS.has(key)) notes.add(`${key} is not known and left out`);
  if (table['intelRdt'] !== undefined) notes.add("intelRdt is left out: Slurm divides the processors' caches");
  if (table['netDevices'] !== undefined) notes.add("netDevices is left out: containers have the host's network");
  if (table['additionalGids'] !== undefined || table['additionalGIDs'] !== undefined)
    notes.add("additionalGIDs is left out: a container has its user's groups, and no more rights than these");
  return {
    variables: asArray(table['env'] ?? [], `${at}.env`).map((each, i) => readVariable(each, `${at}.env[${i}]`)),
    deviceNodes: asArray(table['deviceNodes'] ?? [], `${at}.deviceNodes`).map((each, i) => {
      const node = asTable(each, `${at}.deviceNodes[${i}]`);
      const path = asPath(node['path'], `${at}.deviceNodes[${i}].path`);
      const hostPath =
        node['hostPath'] === undefined ? path : asPath(node['hostPath'], `${at}.deviceNodes[${i}].hostPath`);
      return { path, hostPath };
    }),
    mounts: asArray(table['mounts'] ?? [], `${at}.mounts`).map((each, i) => readMount(each, `${at}.mounts[${i}]`)),
    hooks: asArray(table['hooks'] ?? [], `${at}.hooks`).map((each, i) => readHook(each, `${at}.hooks[${i}]`)),
  };
}

function readVariable(value: unknown, at: string): { name: string; value: string } {
  const text = asText(value, at);
  const end = text.indexOf('=');
  const name = text.slice(0, Math.max(end, 0));
  if (!isVariableName(name) || /\p{Cc}/u.test(text))
    throw new SpecificationFault(`${at} is ${shown(text)}, not NAME=VALUE`);
  return { name, value: text.slice(end + 1) };
}

function readMount(value: unknown, at: string): CdiMount {
  const table = asTable(value, at);
  const options = asArray(table['options'] ?? [], `${at}.options`).map((each, i) =>
    asText(each, `${at}.options[${i}]`),
  );
  const type = table['type'] ?? 'bind';
  if (type !== 'bind' && type !== 'none' && type !== '')
    throw new SpecificationFault(`${at}.type is ${shown(type)}, not bind`);
  const containerPath = asPath(table['containerPath'], `${at}.containerPath`);
  if (isReserved(containerPath))
    throw new SpecificationFault(`${at}.containerPath is ${containerPath}, which a container sets up itself`);
  return {
    hostPath: asPath(table['hostPath'], `${at}.hostPath`),
    containerPath,
    readOnly: options.includes('ro') || options.includes('rro'),
    recursive: !options.includes('bind') || options.includes('rbind'),
  };
}

function readHook(value: unknown, at: string): CdiHook {
  const table = asTable(value, at);
  const name = HOOK_NAMES.find((each) => each === table['hookName']);
  if (name === undefined)
    throw new SpecificationFault(`${at}.hookName is ${shown(table['hookName'])}, not one of ${HOOK_NAMES.join(', ')}`);
  const path = asPath(table['path'], `${at}.path`);
  const texts = (key: string): string[] =>
    asArray(table[key] ?? [], `${at}.${key}`).map((each, i) => asText(each, `${at}.${key}[${i}]`));
  const timeout = table['timeout'];
  if (timeout !== undefined && (typeof timeout !== 'number' || !(timeout > 0) || timeout > 3600))
    throw new SpecificationFault(`${at}.timeout is ${shown(timeout)}, not a number of seconds`);
  return { name, path, args: texts('args'), env: texts('env'), timeout };
}

function asTable(value: unknown, at: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Readonly<Record<string, unknown>>;
  throw new SpecificationFault(`${at} is ${shown(value)}, not an object`);
}

function asArray(value: unknown, at: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new SpecificationFault(`${at} is ${shown(value)}, not an array`);
}

function asText(value: unknown, at: string): string {
  if (typeof value === 'string' && !value.includes('\0')) return value;
  throw new SpecificationFault(`${at} is ${shown(value)}, not a string`);
}

function asPath(value: unknown, at: string): string {
  const path = plainPath(asText(value, at));
  if (path === undefined || path === '/')
    throw new SpecificationFault(`${at} is ${shown(value)}, not an absolute path without ".."`);
  return path;
}

function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
