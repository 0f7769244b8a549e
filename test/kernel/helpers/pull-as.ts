/**
 * Pulls from an OCI layout as whoever runs this, and prints the events as JSON; an error's code where it fails.
 * Arguments: the socket, the layout, and the options of a pull as JSON.
 */
import { RemoteError } from '../../../src/errors/index.js';
import { PullClient, kindsOf, wantedOf, type PullOptions } from './pull-client.js';

async function main(): Promise<void> {
  const [, , socket = '', layout = '', options = '{}'] = process.argv;
  try {
    const events = await PullClient.pull(socket, layout, JSON.parse(options) as PullOptions);
    const { image, pinned } = events.at(-1) ?? {};
    process.stdout.write(JSON.stringify({ kinds: kindsOf(events), wanted: wantedOf(events), image, pinned }));
  } catch (error) {
    if (!(error instanceof RemoteError)) throw error;
    process.stdout.write(JSON.stringify({ kinds: [], wanted: [], code: error.code, why: error.why }));
  }
}

void main();
