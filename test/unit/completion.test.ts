// What bash, zsh and fish offer for a command line. The shells are real; a berth that only lists stands for berthd's.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bashCompletion } from '../../scripts/package/completion/bash.js';
import { fishCompletion } from '../../scripts/package/completion/fish.js';
import { zshCompletion } from '../../scripts/package/completion/zsh.js';
import { commands } from '../../src/cli/commands/index.js';

const directory = mkdtempSync(join(tmpdir(), 'berth-completion-'));
const work = join(directory, 'work');

const IMAGES = { images: [{ name: 'debian:12' }, { name: 'debian:13' }, { name: 'lammps:latest', source: 'x' }] };
const CONTAINERS = { containers: [{ id: '3fa94c1d', image: 'debian:12' }] };

beforeAll(() => {
  writeFileSync(join(directory, 'berth.bash'), bashCompletion());
  mkdirSync(join(directory, 'zsh'));
  writeFileSync(join(directory, 'zsh', '_berth'), zshCompletion());
  writeFileSync(join(directory, 'berth.fish'), fishCompletion());
  mkdirSync(join(directory, 'bin'));
  const lister = join(directory, 'bin', 'berth');
  const show = (value: unknown): string => `cat <<'END'\n${JSON.stringify(value, undefined, 2)}\nEND`;
  writeFileSync(lister, `#!/bin/sh\ncase $1 in images) ${show(IMAGES)}\n;; ps) ${show(CONTAINERS)}\n;; esac\n`);
  chmodSync(lister, 0o755);
  mkdirSync(join(work, 'sources'), { recursive: true });
  writeFileSync(join(work, 'archive.tar'), '');
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

function run(program: string, argv: readonly string[]): string[] {
  const env = {
    HOME: directory,
    PATH: `${join(directory, 'bin')}:/usr/bin:/bin`,
    LC_ALL: 'C.UTF-8',
    TERM: 'xterm',
  };
  const text = execFileSync(program, [...argv], {
    cwd: work,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return text.split('\n').filter((line) => line !== '');
}

/** Candidates for each of the lines, as a shell has written them between these marks. */
function divided(output: readonly string[]): string[][] {
  const parts: string[][] = [];
  let part: string[] = [];
  for (const line of output) {
    if (line === MARK) {
      parts.push([...new Set(part)]);
      part = [];
    } else part.push(line);
  }
  return parts;
}

const MARK = '@@';

/** As bash calls a completion: the line is taken apart at colons and equals signs too. */
function bash(lines: readonly string[]): string[][] {
  const script = `
    . /usr/share/bash-completion/bash_completion
    . "$1"; shift
    for COMP_LINE; do
      read -ra COMP_WORDS <<<"\${COMP_LINE//:/ : }"
      [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
      COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)) COMP_POINT=\${#COMP_LINE} COMPREPLY=()
      _berth
      printf '%s\\n' "\${COMPREPLY[@]}" ${MARK}
    done`;
  return divided(run('bash', ['--norc', '-c', script, 'bash', join(directory, 'berth.bash'), ...lines]));
}

/** zsh completes only in a terminal: it gets one, and tells what it would add to the lines that are typed. */
function zsh(lines: readonly string[]): string[][] {
  const script = `
    zmodload zsh/zpty
    zpty shell zsh -f -i
    send() { zpty -w shell "$1" }
    await() { repeat 1000; do zpty -r -t shell ignored; [[ -e ready ]] && break; sleep 0.01; done; rm -f ready }
    send "PS1= LISTMAX=10000 fpath=($1 \\$fpath); autoload -Uz compinit; compinit -u -D"
    send 'bindkey "^I" complete-word; zstyle ":completion:*" verbose no; exec 3>candidates'
    # Every candidate, as soon as it is known.
    send 'compadd() {
      local -a found
      if [[ \${@[(I)-[OAD]]} -gt 0 ]]; then builtin compadd "$@"; return; fi
      builtin compadd -O found "$@"; local one; for one in $found; do print -r -- "$one" >&3; done
      builtin compadd "$@"
    }'
    # What is typed before the line editor runs would be the terminal's.
    send 'zle-line-init() { : >ready }; zle -N zle-line-init'
    shift
    for line; do
      await
      zpty -w -n shell "$line"$'\\t'
      zpty -w shell $'\\C-u print -r -- ${MARK} >&3'
    done
    await
    zpty -d shell
    cat candidates; rm -f candidates ready`;
  return divided(run('zsh', ['-f', '-c', script, 'zsh', join(directory, 'zsh'), ...lines]));
}

function fish(lines: readonly string[]): string[][] {
  const script = `source ${directory}/berth.fish; for line in $argv; complete -C $line; echo ${MARK}; end`;
  const output = run('fish', ['--no-config', '-c', script, ...lines]);
  return divided(output.map((text) => text.replace(/\t.*/, '')));
}

const names = commands.map(({ name }) => name);

const LINES = [
  ...[
    'berth ',
    'berth he',
    'berth help he',
    'berth inspect ',
    'berth inspect debian:1',
    'berth rmi --force debian:12 lam',
  ],
  ...['berth tag debian:12 deb', 'berth exec ', 'berth pull --progress ', 'berth config ', 'berth config ch'],
  ...['berth import name ', ...names.map((name) => `berth ${name} --`)],
];

describe.each([
  ['bash', bash],
  ['zsh', zsh],
  ['fish', fish],
] as const)('%s completes', (shell, complete) => {
  let offered: ReadonlyMap<string, string[]>;
  beforeAll(() => {
    const found = complete(LINES);
    expect(found).toHaveLength(LINES.length);
    offered = new Map(LINES.map((line, i) => [line, (found[i] ?? []).sort()]));
  }, 30_000);

  it('commands', () => {
    expect(offered.get('berth ')).toEqual([...names].sort());
    expect(offered.get('berth he')).toEqual(['health', 'help']);
    expect(offered.get('berth help he')).toEqual(['health', 'help']);
  });

  it('the options of every command', () => {
    for (const { name, options } of commands) {
      // zsh shows which options have a value behind an equals sign.
      const words = offered.get(`berth ${name} --`)?.map((word) => word.replace(/=$/, ''));
      const named = (isInternal: boolean): string[] =>
        options.filter(({ internal }) => (internal ?? false) === isInternal).map((option) => `--${option.name}`);
      expect(words).toEqual(expect.arrayContaining(named(false)));
      for (const word of named(true)) expect(words).not.toContain(word);
    }
  });

  it('images, with what stands behind their colons', () => {
    // bash replaces only what stands after the last colon.
    const tags = shell === 'bash' ? ['12', '13'] : ['debian:12', 'debian:13'];
    expect(offered.get('berth inspect ')).toEqual(['debian:12', 'debian:13', 'lammps:latest']);
    expect(offered.get('berth inspect debian:1')).toEqual(tags);
    expect(offered.get('berth rmi --force debian:12 lam')).toEqual(['lammps:latest']);
    // The second operand of tag is a name that there is not yet.
    expect(offered.get('berth tag debian:12 deb')).toEqual([]);
  });

  it('containers', () => {
    expect(offered.get('berth exec ')).toContain('3fa94c1d');
  });

  it('values of options, and operands of few words', () => {
    const progress = offered.get('berth pull --progress ');
    expect(progress?.filter((word) => !word.startsWith('-'))).toEqual(['auto', 'json', 'none']);
    expect(offered.get('berth config ')).toEqual(['check', 'show']);
    expect(offered.get('berth config ch')).toEqual(['check']);
  });

  it('files', () => {
    const files = offered.get('berth import name ')?.map((word) => word.replace(/\/$/, ''));
    expect(files).toEqual(expect.arrayContaining(['archive.tar', 'sources']));
  });
});

describe('a berth that does not answer', () => {
  it('is not waited for: the completion ends before it, with nothing', () => {
    const slow = mkdtempSync(join(directory, 'slow-'));
    writeFileSync(join(slow, 'berth'), `#!/bin/sh\nsleep 30\ntouch ${join(slow, 'finished')}\n`);
    chmodSync(join(slow, 'berth'), 0o755);
    const script = `PATH=${slow}:$PATH; . ${directory}/berth.bash; _berth_images`;
    expect(run('bash', ['-c', script])).toEqual([]);
    expect(existsSync(join(slow, 'finished'))).toBe(false);
  });
});
