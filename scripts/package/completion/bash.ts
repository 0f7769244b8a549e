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

/** The completion of bash, for the package bash-completion to load. */
export function bashCompletion(): string {
  return `# Completion of berth for bash, made from its table of commands.

_berth_images() {
    ${IMAGES}
}

_berth_containers() {
    ${CONTAINERS}
}

# The options of a command that have a value, and all of its options.
_berth_options() {
    case $1 in
${completedCommands.map(optionsCase).join('\n')}
        *)
            valued=${quote(valued(leadingOptions))}
            options=${quote(all(leadingOptions))}
            ;;
    esac
}

# What the value of an option may be.
_berth_value() {
    case $1:$2 in
${valueCases().join('\n')}
    esac
}

# What an operand may be, by its number.
_berth_operand() {
    case $1:$2 in
${completedCommands.flatMap(operandCases).join('\n')}
    esac
}

_berth_complete() {
    case $1 in
        images) COMPREPLY=($(compgen -W "$(_berth_images)" -- "$cur")) ;;
        containers) COMPREPLY=($(compgen -W "$(_berth_containers)" -- "$cur")) ;;
        files) _filedir ;;
        directories) _filedir -d ;;
        users) COMPREPLY=($(compgen -u -- "$cur")) ;;
        groups) COMPREPLY=($(compgen -g -- "$cur")) ;;
        any | '') ;;
        *) COMPREPLY=($(compgen -W "$1" -- "$cur")) ;;
    esac
}

_berth() {
    local cur prev words cword split
    _init_completion -s -n : || return

    local command= at number=0 options valued
    _berth_options ''
    for ((at = 1; at < cword; at++)); do
        case \${words[at]} in
            --*=*) ;;
            -*)
                [[ " $valued " == *" \${words[at]} "* ]] && ((at++))
                ;;
            *)
                if [[ -z $command ]]; then
                    command=\${words[at]}
                    _berth_options "$command"
                else
                    ((number++))
                fi
                ;;
        esac
    done

    if [[ $split == true || " $valued " == *" $prev "* ]]; then
        _berth_complete "$(_berth_value "$command" "$prev")"
    elif [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    elif [[ -z $command ]]; then
        COMPREPLY=($(compgen -W ${quote(completedCommands.map(({ name }) => name).join(' '))} -- "$cur"))
    else
        _berth_complete "$(_berth_operand "$command" "$number")"
    fi
    # Images have colons in their names, at which bash begins a new word.
    __ltrim_colon_completions "$cur"
}
complete -F _berth berth
`;
}

function optionsCase({ name, options }: CompletedCommand): string {
  return `        ${name})
            valued=${quote(valued(options))}
            options=${quote(all(options))}
            ;;`;
}

function valueCases(): string[] {
  const rows = completedCommands.flatMap((command) =>
    command.options.flatMap((option) => {
      if (option.value === undefined || option.value.words === 'any') return [];
      const names = spellings(option).map((spelling) => `${command.name}:${spelling}`);
      return option.name === 'socket' ? [] : [valueCase(names.join(' | '), option.value.words)];
    }),
  );
  return [...rows, valueCase('*:--socket', 'files')];
}

function operandCases({ name, operands, repeats }: CompletedCommand): string[] {
  return operands.flatMap(({ words }, i) => {
    if (words === 'any') return [];
    return [
      valueCase(repeats && i === operands.length - 1 && words !== 'containers' ? `${name}:*` : `${name}:${i}`, words),
    ];
  });
}

function valueCase(pattern: string, words: Words): string {
  return `        ${pattern}) echo ${quote(typeof words === 'string' ? words : words.join(' '))} ;;`;
}

function valued(options: readonly CompletedOption[]): string {
  return all(options.filter(({ value }) => value !== undefined));
}

function all(options: readonly CompletedOption[]): string {
  return options.flatMap(spellings).join(' ');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
