import { createInterface } from 'node:readline/promises';
import type { ReadStream } from 'node:tty';
import type { Readable } from 'node:stream';

/** Standard input, as Node has it. */
export type Input = Readable & Partial<Pick<ReadStream, 'isTTY' | 'setRawMode'>>;

/** Longest secret that is taken, in characters: tokens of some registries have thousands. */
const SECRET_LIMIT = 64 * 1024;

/** Asks on the terminal, on standard error. */
export async function ask(question: string, stdin: Input, signal: AbortSignal): Promise<string> {
  const lines = createInterface({ input: stdin, output: process.stderr, terminal: true });
  try {
    return (await lines.question(question, { signal })).trim();
  } finally {
    lines.close();
  }
}

/** Asks on the terminal, and shows nothing of the answer. */
export async function askSecret(question: string, stdin: Input, signal: AbortSignal): Promise<string> {
  process.stderr.write(question);
  stdin.setRawMode?.(true);
  try {
    return await readSecret(stdin, signal);
  } finally {
    stdin.setRawMode?.(false);
    stdin.pause();
    process.stderr.write('\n');
  }
}

/** All of standard input, without the newline at its end. */
export async function readAll(stdin: Input): Promise<string> {
  let text = '';
  for await (const chunk of stdin) text = (text + String(chunk)).slice(0, SECRET_LIMIT);
  return text.replace(/\r?\n$/, '');
}

/** In raw mode the terminal neither shows nor edits what is typed, and makes no signal of Ctrl-C. */
function readSecret(stdin: Input, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    let secret = '';
    const finish = (settle: () => void): void => {
      stdin.off('data', take);
      signal.removeEventListener('abort', abort);
      settle();
    };
    const abort = (): void => {
      finish(() => {
        reject(signal.reason as Error);
      });
    };
    const take = (chunk: Buffer | string): void => {
      for (const character of String(chunk)) {
        if (character === '\r' || character === '\n' || character === '\x04') {
          finish(() => {
            resolve(secret);
          });
          return;
        }
        if (character === '\x03') process.kill(process.pid, 'SIGINT');
        else if (character === '\x7f' || character === '\b') secret = secret.replace(/.$/su, '');
        else if (character === '\x15') secret = '';
        else if (secret.length < SECRET_LIMIT) secret += character;
      }
    };
    signal.addEventListener('abort', abort);
    stdin.on('data', take);
    stdin.resume();
  });
}
