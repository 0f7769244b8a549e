/** An application's files, made up: always the same, and about as compressible as real ones. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../../program.js';
import { generator } from '../random.js';

const WORDS =
  'array axis block buffer cell communicator compute count data density domain element energy field file float force ' +
  'frame gradient grid index input integer iterate kernel lattice length list load local loop matrix memory mesh message ' +
  'mode node number offset output parallel particle phase point potential pressure process rank reduce region result ' +
  'return scale send size solver space state step stride sum system temperature tensor thread time update value vector';

/** Makes an archive of an application's files beneath /opt/NAME. */
export async function writeApplication(
  archive: string,
  scratch: string,
  application: {
    readonly name: string;
    readonly seed: number;
    /** How many source files, of some kilobytes each. */
    readonly sources: number;
    /** How many files of numbers, of 8 MiB each. */
    readonly tables: number;
  },
): Promise<void> {
  const random = generator(application.seed);
  const top = join(scratch, application.name);
  const write = async (path: string, content: Buffer | string): Promise<void> => {
    const target = join(top, 'opt', application.name, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, content);
  };
  for (let index = 0; index < application.sources; index += 1) {
    await write(`lib/part${index % 40}/module${index}.py`, sourceText(random));
  }
  for (let index = 0; index < application.tables; index += 1) await write(`data/table${index}.bin`, table(random));
  const plain = ['--sort=name', '--owner=0', '--group=0', '--mtime=@0', '--numeric-owner'];
  await run(['tar', '--create', ...plain, `--file=${archive}`, `--directory=${top}`, './opt']);
}

function sourceText(random: () => number): string {
  const words = WORDS.split(' ');
  const word = (): string => words[Math.floor(random() * words.length)] ?? '';
  const lines = Math.floor(20 + random() * 300);
  return Array.from({ length: lines }, () => `    ${word()}_${word()} = ${word()}(${word()}, ${word()})\n`).join('');
}

/** Single-precision numbers of three digits, as a simulation writes them. */
function table(random: () => number): Buffer {
  const numbers = new Float32Array(2 ** 21);
  let value = 0;
  for (let index = 0; index < numbers.length; index += 1) {
    value += random() - 0.5;
    numbers[index] = Math.round(value * 1000) / 1000;
  }
  return Buffer.from(numbers.buffer);
}
