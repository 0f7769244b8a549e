import { parseImportName, parseReference, type NameReference } from '../../image/reference.js';
import { BerthError } from '../../errors/index.js';
import { usage } from '../arguments.js';
import { json, type Call, type Command } from '../command.js';
import { untilInterrupted } from '../interrupt.js';
import { authfileOption, tlsVerifyOf, tlsVerifyOption } from '../pull/options.js';
import { parsePlatform } from '../pull/platform.js';
import { Progress, type ProgressMode } from '../pull/progress.js';
import { findRemote } from '../pull/remote.js';
import { bring, type Pulled } from '../pull/session.js';
import { jsonText, size } from '../terminal.js';
import { imageView } from './images.js';

export const pull: Command = {
  name: 'pull',
  summary: 'bring an image from a registry into the store of this node',
  synopsis: ['pull [OPTION...] IMAGE'],
  description: [
    'IMAGE is [REGISTRY/]NAME[:TAG][@sha256:DIGEST], with or without "docker://" before it; Docker Hub is the registry when ' +
      'none is given, and "latest" the tag. docker:NAME:TAG, as Shifter has it, and [ACCOUNT@]REGISTRY#NAME:TAG, as Pyxis and ' +
      'enroot do, are the same.',
    'The image gets its own name, for you alone; what root pulls is for everyone on the site. A name that is taken goes to ' +
      'the new image. An image that is asked for by its digest gets no name, and moves none: --name gives it one.',
    'The registry is asked without credentials first. Only what it refuses then is asked for with yours, from berth login, ' +
      'podman login or docker login; they never leave this process and skopeo. Mirrors, certificates and the policy for ' +
      'signatures are those of podman: registries.conf, certs.d and policy.json of containers(5).',
    'Every part is checked against its digest. Layers that the store has already are not fetched, and those that arrived ' +
      'before a pull was interrupted need not come again. While somebody else pulls the same, this waits for them.',
  ],
  options: [
    {
      name: 'platform',
      value: 'OS/ARCHITECTURE[/VARIANT]',
      description:
        "Of an image that is made for several, the one for this platform, such as linux/arm64, and not this host's.",
    },
    { name: 'name', value: 'NAME', description: 'What to call the image here.' },
    authfileOption,
    tlsVerifyOption,
    { name: 'quiet', letter: 'q', description: 'Show no progress, and only the digest of the image in the end.' },
    {
      name: 'progress',
      value: 'auto|json|none',
      description:
        'json: write a JSON object per line to standard output: the events start, waiting, progress (each second), retry, ' +
        'converting, and done or error at the end.',
    },
    json,
  ],
  operands: ['IMAGE'],
  examples: [
    { command: 'berth pull ubuntu:24.04', text: 'From Docker Hub, as ubuntu:24.04.' },
    { command: 'berth pull ghcr.io/lammps/lammps:stable', text: 'From another registry.' },
    {
      command: 'berth pull --name base:fixed debian@sha256:4b50…',
      text: 'Exactly this one, whatever becomes of its tags.',
    },
    { command: 'berth pull --platform linux/arm64 debian:12', text: 'For nodes of another kind.' },
  ],
  exitStatus: [
    { status: 3, text: 'There is no such image, or none for this platform.' },
    { status: 4, text: 'You may not read the image, or the site does not let you pull it.' },
    { status: 6, text: 'The store is full or cannot be used, or the image is damaged or too large.' },
    { status: 7, text: 'skopeo is missing or too old.' },
    { status: 8, text: 'The registry cannot be reached, or failed: another attempt may succeed.' },
    { status: 130, text: 'Interrupted (143: terminated). Nothing half done is left.' },
  ],
  run: (call) => untilInterrupted(call.terminal, (signal) => pullImage(call, signal)),
};

/** How much of a digest tells images apart for people, in characters. */
const SHOWN = 'sha256:'.length + 12;

async function pullImage(call: Call, signal: AbortSignal): Promise<number> {
  const { operands, value, socket, terminal } = call;
  const [text = ''] = operands;
  const reference = parsePulled(text);
  const given = value('name');
  // By its digest alone, it is not to take a tag away from another image.
  const name = given === undefined ? (reference.digest === undefined ? reference.text : '') : parseImportName(given);
  const platform = value('platform');
  const mode = progressMode(call);
  const begin = Date.now();
  const progress = new Progress(name || `${reference.text}@${reference.digest?.slice(0, SHOWN) ?? ''}`, terminal, mode);
  try {
    progress.finding();
    const options = {
      platform: platform === undefined ? undefined : parsePlatform(platform),
      authfile: value('authfile'),
      tlsVerify: tlsVerifyOf(call, 'pull'),
    };
    const remote = await findRemote(reference, options, signal);
    const pulled = await bring(remote, name, socket, progress, signal);
    progress.stop();
    report(call, pulled, mode, (Date.now() - begin) / 1000);
    return 0;
  } catch (error) {
    if (!signal.aborted) progress.failed(error);
    throw error;
  } finally {
    progress.stop();
  }
}

function parsePulled(text: string): NameReference {
  const reference = parseReference(text);
  if (reference.kind === 'name' && reference.owner === undefined) return reference;
  const why =
    reference.kind === 'path'
      ? 'it is a path: berth import NAME SOURCE gives a file or directory a name'
      : reference.kind === 'digest'
        ? 'a digest alone does not say which registry has it: give NAME@DIGEST'
        : 'what another user shares is in the store already: berth images shows it';
  throw new BerthError('BERTH_IMAGE_NAME', { name: text, why });
}

function progressMode({ flag, value }: Call): ProgressMode {
  const given = value('progress') ?? 'auto';
  if (given !== 'auto' && given !== 'json' && given !== 'none')
    throw usage(`--progress was given ${given}`, 'it is auto, json or none', 'pull');
  return flag('quiet') ? 'none' : given;
}

function report(
  { flag, terminal }: Call,
  { image, pinned, fetched }: Pulled,
  mode: ProgressMode,
  seconds: number,
): void {
  const view = imageView(image);
  const result = { image: view, pinned, fetched };
  if (mode === 'json') terminal.print(jsonText({ event: 'done', ...result }));
  else if (flag('json')) terminal.print(jsonText(result, 2));
  else if (flag('quiet')) terminal.print(image.manifest || view.digest);
  else {
    const digest = image.manifest || view.digest;
    terminal.print(view.name === digest ? `pulled ${digest}` : `pulled ${view.name}  ${digest}`);
    const came = fetched === 0 ? 'nothing new was fetched' : `${size(fetched)} fetched`;
    terminal.print(terminal.dim(`${came}, ${size(view.size)} in the store, ${seconds.toFixed(1)} s`));
  }
}
