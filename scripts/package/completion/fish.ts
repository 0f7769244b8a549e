import {
  completedCommands,
  CONTAINERS,
  IMAGES,
  leadingOptions,
  spellings,
  type CompletedCommand,
  type CompletedOption,
  type Words,
} from './words.js';

/** The completion of fish. */
export function fishCompletion(): string {
  return `# Completion of berth for fish, made from its table of commands.

function __berth_images
    ${IMAGES}
end

function __berth_containers
    ${CONTAINERS}
end

# Is this the command, and, where a number is given, is its operand of that number the next? The last that a number and "+" mean, too.
function __berth_at
    set -l valued ${all(completedCommands.flatMap(({ options }) => options).filter(({ value }) => value !== undefined))}
    set -l words (commandline -opc)
    set -e words[1]
    set -l command
    set -l number 0
    set -l skip no
    for word in $words
        if test $skip = yes
            set skip no
        else if string match -q -- '--*=*' $word
        else if string match -q -- '-*' $word
            contains -- $word $valued; and set skip yes
        else if test -z "$command"
            set command $word
        else
            set number (math $number + 1)
        end
    end
    test "$command" = "$argv[1]"; or return 1
    switch "$argv[2]"
        case ''
            return 0
        case '*+'
            test $number -ge (string replace + '' -- $argv[2])
        case '*'
            test $number -eq $argv[2]
    end
end

complete -c berth -f
${leadingOptions.map((option) => optionLine("__berth_at ''", option)).join('\n')}
${completedCommands.map(({ name, summary }) => `complete -c berth -n "__berth_at ''" -a ${name} -d ${quote(summary)}`).join('\n')}
${completedCommands.flatMap(commandLines).join('\n')}
`;
}

function commandLines({ name, options, operands, repeats }: CompletedCommand): string[] {
  return [
    ...options.map((option) => optionLine(`__berth_at ${name}`, option)),
    ...operands.flatMap(({ words }, i) => {
      if (words === 'any') return [];
      const last = repeats && i === operands.length - 1 && words !== 'containers';
      return [`complete -c berth -n "__berth_at ${name} ${i}${last ? '+' : ''}" ${argument(words)}`];
    }),
  ];
}

function optionLine(condition: string, { name, letter, value, description }: CompletedOption): string {
  return [
    `complete -c berth -n "${condition}"`,
    ...(letter === undefined ? [] : [`-s ${letter}`]),
    `-l ${name}`,
    ...(value === undefined ? [] : ['-r', argument(value.words)]),
    `-d ${quote(description)}`,
  ].join(' ');
}

function argument(words: Words): string {
  if (typeof words !== 'string') return `-f -a ${quote(words.join(' '))}`;
  const sources = {
    images: "-f -a '(__berth_images)'",
    containers: "-f -a '(__berth_containers)'",
    files: '-F',
    directories: "-f -a '(__fish_complete_directories)'",
    users: "-f -a '(__fish_complete_users)'",
    groups: "-f -a '(__fish_complete_groups)'",
    any: '-f',
  };
  return sources[words];
}

function all(options: readonly CompletedOption[]): string {
  return [...new Set(options.flatMap(spellings))].join(' ');
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
