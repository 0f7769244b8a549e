import { hostname } from 'node:os';
import { BerthError } from '../../errors/index.js';
import { SkopeoError } from './skopeo.js';

/** What a pull is about, as errors name it. */
export interface Subject {
  readonly name: string;
  readonly registry: string;
}

export type Fault =
  'unknown' | 'denied' | 'busy' | 'tls' | 'failing' | 'unreachable' | 'digest' | 'blob' | 'policy' | 'killed' | 'other';

/** How a status that is the server's own fault stands in what skopeo says: its number, and its name if it has one. */
const FAILING = /status(?: code)?(?: from registry)?:? (5\d\d)\b(?: \(?([A-Z][A-Za-z -]*[a-z]))?/;

/**
 * What skopeo says, and registries through it, is known by these words. The first that fits counts. A status stands after a
 * space: after anything else, such a number is part of a port, a name or a digest.
 */
const faults: readonly (readonly [Fault, RegExp])[] = [
  ['killed', /^skopeo ended with SIG/],
  ['policy', /rejected by policy|[Ss]ource image rejected|signature was required|policy\.json|is not accepted/],
  [
    'digest',
    /corrupted blob|bytes in blob, got|does not match (?:provided )?(?:manifest )?digest|digest did not match/i,
  ],
  ['blob', /blob unknown|(?:fetching|reading) blob.*(?: 404\b|not found)/i],
  ['busy', /toomanyrequests|too many requests| 429\b|rate limit/i],
  [
    'unknown',
    /manifest unknown|name unknown|repository name not known|(?:reading|fetching) manifest.*(?: 404\b|not found)/i,
  ],
  ['denied', /unauthorized|denied|authentication required|invalid username| 40[13]\b|forbidden|no basic auth/i],
  ['tls', /x509|certificate|\btls:|HTTP response to HTTPS client|handshake failure/i],
  ['failing', FAILING],
  [
    'unreachable',
    /dial tcp|no such host|connection refused|connection reset|broken pipe|timeout|deadline exceeded|unreachable|no route|\bEOF\b|server misbehaving|proxyconnect|use of closed/i,
  ],
];

/** What people understand of what Go says. */
const sentences: readonly (readonly [RegExp, string])[] = [
  [/^skopeo ended with SIG/, 'skopeo was killed: is this host short of memory?'],
  [/no such host|server misbehaving/, 'the name service knows no host of that name'],
  [/connection refused/, 'nothing takes connections there'],
  [/network is unreachable|no route/, 'this host has no way to it'],
  [/handshake timeout|i\/o timeout|deadline exceeded|Timeout exceeded/, 'it does not answer in time'],
  [/connection reset|broken pipe|unexpected EOF|\bEOF\b|use of closed/, 'it broke the connection off'],
  [/HTTP response to HTTPS client/, 'it speaks plain HTTP, without a certificate'],
  [/signed by unknown authority/, 'its certificate is signed by an authority that this host does not know'],
  [/certificate has expired or is not yet valid/, 'its certificate has expired, or is not valid yet'],
  [/certificate is (?:valid for|not valid for)|doesn't contain any IP SANs/, 'its certificate is for other names'],
  [/toomanyrequests| 429\b|rate limit/i, 'too many images were pulled from here in a short time'],
  [/manifest unknown/, 'it knows no such tag or digest'],
  [/name unknown|repository name not known/, 'it knows no such repository'],
  [/blob unknown|[Ff]etching blob.* 404\b/, 'its manifest names a blob that is not there'],
  [/is rejected by policy/, "this host's policy for signatures refuses all such images"],
  [/signature was required/, "it is not signed as this host's policy for signatures demands"],
];

/** Which of the known faults it is. */
export function faultOf(error: unknown): Fault {
  if (!(error instanceof SkopeoError)) return 'other';
  return faults.find(([, words]) => words.test(error.message))?.[0] ?? 'other';
}

/** May another attempt end better? */
export function isPassing(error: unknown): boolean {
  return ['unreachable', 'failing', 'killed'].includes(faultOf(error));
}

/**
 * Makes an error of the table of what skopeo says. Everything else is returned as it is.
 *
 * @param login what to say of a refusal, besides the registry's words: who asked.
 */
export function explain(
  error: unknown,
  { name, registry }: Subject,
  login = 'it was asked without credentials',
): unknown {
  if (!(error instanceof SkopeoError)) return error;
  const fault = faultOf(error);
  const why = sentence(error.message);
  const cause = { cause: error };
  switch (fault) {
    case 'unknown':
      return new BerthError('BERTH_PULL_UNKNOWN', { name, registry, why }, cause);
    case 'denied':
      return new BerthError('BERTH_PULL_DENIED', { name, registry, why: login }, cause);
    case 'busy':
      return new BerthError('BERTH_REGISTRY_BUSY', { registry, why }, cause);
    case 'tls':
      return new BerthError('BERTH_REGISTRY_TLS', { registry, why }, cause);
    case 'failing':
      return new BerthError('BERTH_REGISTRY_FAILED', { registry, why }, cause);
    case 'unreachable':
      return new BerthError('BERTH_REGISTRY_UNREACHABLE', { registry, host: hostname(), why }, cause);
    case 'digest':
      return new BerthError(
        'BERTH_PULL_DIGEST',
        { blob: 'a part', name, why: `${registry} sent something else` },
        cause,
      );
    case 'blob':
      return new BerthError('BERTH_PULL_BLOB', { name, registry, why }, cause);
    case 'policy':
      return new BerthError('BERTH_PULL_POLICY', { name, why }, cause);
    case 'killed':
    case 'other':
      return new BerthError('BERTH_PULL_FAILED', { name, why }, cause);
  }
}

/** skopeo's words as one sentence, without what could be a secret in them. */
export function sentence(words: string): string {
  const failing = FAILING.exec(words);
  if (failing) return `it answered ${[failing[1], failing[2]].filter(Boolean).join(' ')}`;
  const known = sentences.find(([pattern]) => pattern.test(words))?.[1];
  return known ?? lastWords(words);
}

/** The end of what skopeo says: Go puts what was being done before its cause, again and again. */
export function lastWords(words: string): string {
  const links = redact(words)
    .replace(/^Error parsing image name "[^"]*": /, '')
    .split(/: (?=\S)/);
  return links.slice(-2).join(': ').slice(0, 300);
}

/** Without credentials in URLs, tokens and headers of authorisation. */
export function redact(words: string): string {
  return words
    .replace(/(:\/\/)[^/@\s"]+@/g, '$1')
    .replace(/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, '$1 …')
    .replace(/([?&](?:[\w-]*token|sig|signature|password|X-Amz-[\w-]+)=)[^&\s"]+/gi, '$1…');
}
