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

/** The completion of zsh. */
export function zshCompletion(): string {
  return `#compdef berth
# Completion of berth for zsh, made from its table of commands.

_berth_images() {
  local -a images
  images=(\${(f)"$(${IMAGES})"})
  compadd -a images
}

_berth_containers() {
  local -a containers
  containers=(\${(f)"$(${CONTAINERS})"})
  compadd -a containers
}

_berth() {
  local curcontext="$curcontext" state line
  local -a commands
  commands=(
${completedCommands.map(({ name, summary }) => `    ${quote(`${name}:${summary}`)}`).join('\n')}
  )
  _arguments -C \\
${leadingOptions.map((option) => `    ${optionWord(option)} \\`).join('\n')}
    '1:command:->command' \\
    '*::argument:->argument'
  case $state in
    command) _describe command commands ;;
    argument)
      case $words[1] in
${completedCommands.map(commandCase).join('\n')}
      esac
      ;;
  esac
}

_berth "$@"
`;
}

function commandCase({ name, options, operands, repeats }: CompletedCommand): string {
  const words = [
    ...options.map(optionWord),
    ...operands.map(({ label, words }, i) => {
      const place = repeats && i === operands.length - 1 && words !== 'containers' ? '*' : String(i + 1);
      return quote(`${place}:${plain(label)}:${action(words)}`);
    }),
  ];
  return `        ${name})
          _arguments -S \\
${words.map((word) => `            ${word}`).join(' \\\n')}
          ;;`;
}

/** An option as _arguments takes it. */
function optionWord(option: CompletedOption): string {
  const { value, multiple } = option;
  const names = spellings(option);
  const described = `[${plain(option.description)}]${value === undefined ? '' : `:${plain(value.label)}:${action(value.words)}`}`;
  const repeated = multiple ? '*' : '';
  const forms = names.map((name) => (value !== undefined && name.startsWith('--') ? `${name}=` : name));
  if (forms.length === 1) return quote(`${repeated}${forms.join('')}${described}`);
  const exclusive = multiple ? repeated : `(${names.join(' ')})`;
  return `${quote(exclusive)}{${forms.join(',')}}${quote(described)}`;
}

function action(words: Words): string {
  if (typeof words !== 'string') return `(${words.join(' ')})`;
  const actions = {
    images: '_berth_images',
    containers: '_berth_containers',
    files: '_files',
    directories: '_files -/',
    users: '_users',
    groups: '_groups',
    any: ' ',
  };
  return actions[words];
}

/** Without what _arguments would take for the end of a description. */
function plain(text: string): string {
  return text.replace(/[[\]:\\]/g, '\\$&');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
