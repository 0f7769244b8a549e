import { run } from './run.js';
import { makeTerminal } from './terminal.js';

// The reader of a pipe may have seen enough (berth ps | head -1): that is no failure. Any other failure to write is.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    if (stream === process.stdout) process.stderr.write(`berth: the output could not be written: ${error.message}\n`);
    process.exit(1);
  });
}

const terminal = makeTerminal(process.stdout, process.stderr, process.env);
void run(process.argv.slice(2), terminal, process.env).then((status) => {
  process.exitCode = status;
});
