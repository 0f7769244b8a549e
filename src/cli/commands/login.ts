import { usage } from '../arguments.js';
import type { Call, Command } from '../command.js';
import { untilInterrupted } from '../interrupt.js';
import { authfileFor, logIn, parseRegistry } from '../pull/credentials.js';
import { tlsVerifyOf, tlsVerifyOption } from '../pull/options.js';
import { ask, askSecret, readAll } from '../pull/prompt.js';

export const login: Command = {
  name: 'login',
  summary: 'give the credentials for a registry',
  synopsis: ['login [OPTION...] REGISTRY'],
  description: [
    'Asks for user name and password, tries them at the registry, and keeps them for berth pull, podman and skopeo. The ' +
      'password is read from the terminal without being shown, or from standard input where that is no terminal. Many ' +
      'registries want an access token in its place.',
    'The credentials go to $XDG_RUNTIME_DIR/containers/auth.json, which is gone when you have left this host; without such a ' +
      'directory, to ~/.config/containers/auth.json. A file in your home directory (--authfile) serves your jobs on all ' +
      'nodes. Either is readable for you alone, and holds the password as it is.',
  ],
  options: [
    {
      name: 'username',
      letter: 'u',
      value: 'NAME',
      description: 'The user at the registry; asked for when not given.',
    },
    {
      name: 'password-stdin',
      description: 'Read the password from standard input; so it is anyway when that is no terminal.',
    },
    {
      name: 'authfile',
      value: 'FILE',
      description: 'Keep the credentials in this file, instead of $REGISTRY_AUTH_FILE.',
    },
    tlsVerifyOption,
  ],
  operands: ['REGISTRY'],
  examples: [
    { command: 'berth login ghcr.io', text: 'Asks for user name and password.' },
    { command: 'berth login -u alice registry.site.org <token', text: 'From a file that only you can read.' },
    {
      command: 'berth login --authfile ~/.config/containers/auth.json docker.io',
      text: 'For jobs on other nodes, too.',
    },
  ],
  exitStatus: [
    { status: 4, text: 'The registry does not take these credentials.' },
    { status: 7, text: 'skopeo is missing.' },
    { status: 8, text: 'The registry cannot be reached.' },
  ],
  run: (call) => untilInterrupted(call.terminal, (signal) => run(call, signal)),
};

async function run(call: Call, signal: AbortSignal): Promise<number> {
  const { operands, value, flag, terminal } = call;
  const registry = parseRegistry(operands[0] ?? '', 'login');
  const authfile = authfileFor(value('authfile'));
  const tlsVerify = tlsVerifyOf(call, 'login');
  const { stdin } = process;
  const watched = stdin.isTTY && !flag('password-stdin');
  const user = value('username') ?? (watched ? await ask(`User name at ${registry}: `, stdin, signal) : '');
  if (user === '') throw usage('berth login needs a user name', '--username gives it', 'login');
  const password = watched ? await askSecret(`Password of ${user}: `, stdin, signal) : await readAll(stdin);
  if (password === '') throw usage('berth login needs a password', 'none was given', 'login');
  await logIn({ registry, user, password, authfile, tlsVerify }, signal);
  terminal.print(`logged in to ${registry} as ${user}`);
  terminal.print(terminal.dim(`the credentials are in ${authfile}`));
  return 0;
}
