import { absolutePath, list, text } from '../kinds.js';

/** Where a browser gets pages from: RFC 6454, without a path. */
const ORIGIN = /^https?:\/\/(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/;

/** [events] of berth.toml. */
export const events = {
  listen: text({
    what: 'an IP address and a port, e.g. "127.0.0.1:9443" or "[::1]:9443"',
    form: /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\]):\d{1,5}$/,
    default: '',
    description:
      "Where the node page, metrics and event stream are served beside berthd's own socket (docs/events.md). It needs " +
      '`token_file`, and `tls_cert` and `tls_key` unless the address is a loopback one.',
  }),
  token_file: absolutePath({
    default: '',
    orEmpty: true,
    description:
      'The file with the token that shows everything on this node: a line of at least 32 characters, e.g. from `openssl rand ' +
      '-hex 32`. It must belong to root, mode 0600. Users get tokens of their own from `berth token`.',
  }),
  tls_cert: absolutePath({
    default: '',
    orEmpty: true,
    description: 'The certificate of `listen`, with its chain, in PEM. It is read when berthd starts.',
  }),
  tls_key: absolutePath({
    default: '',
    orEmpty: true,
    description: 'Its private key, in PEM.',
  }),
  names: list({
    of: 'names of hosts',
    each: /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/,
    default: [],
    description:
      "Names under which browsers ask for this node, besides its addresses, `localhost` and the host's own name. Requests for " +
      'other names are refused, so that no page elsewhere can reach this one by a name that it makes up.',
  }),
  nodes: list({
    of: 'origins, e.g. "https://n2:9443"',
    each: ORIGIN,
    default: [],
    description:
      'Other nodes that the page of this one can show beside it. Each has to name this one in its `origins`.',
  }),
  origins: list({
    of: 'origins, e.g. "https://n1:9443"',
    each: ORIGIN,
    default: [],
    description:
      'Pages that may ask this node for data, besides its own: those of nodes that have it in their `nodes`.',
  }),
} as const;
