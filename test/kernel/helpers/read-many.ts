/**
 * Reads the event stream many times, every other one not at all. Says how many it has opened; then, when nothing has come for a
 * while, where all that read have come to, or how many different places these are.
 * Arguments: the socket, and how many.
 */
import { TestReader } from './web.js';

/** Milliseconds without an event after which it is over. */
const QUIET = 1500;

async function main(): Promise<void> {
  const [, , socketPath = '', count = '0'] = process.argv;
  const readers = await Promise.all(Array.from({ length: Number(count) }, () => TestReader.open({ socketPath })));
  const reading = readers.filter((_, index) => index % 2 === 0);
  for (const { socket } of readers.filter((_, index) => index % 2 === 1)) socket.pause();
  const opened = readers.filter(({ end, refused }) => end === undefined && refused === undefined);
  process.stdout.write(`${opened.length}\n`);
  const places = new Map<TestReader, string>();
  let timer: NodeJS.Timeout | undefined;
  const quiet = (): void => {
    const all = new Set(places.values());
    process.stdout.write(`${all.size === 1 ? ([...all][0] ?? '') : all.size}\n`);
  };
  for (const reader of reading) {
    reader.socket.on('message', () => {
      places.set(reader, reader.told.splice(0).at(-1)?.cursor ?? '');
      if (timer) timer.refresh();
      else timer = setTimeout(quiet, QUIET);
    });
  }
}

void main();
