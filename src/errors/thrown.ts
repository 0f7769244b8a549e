import { getSystemErrorMap } from 'node:util';

/** Why something was thrown, in words that people know: not the symbolic errno of Node's messages. JavaScript throws anything. */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const { message } = thrown;
  const code = errorCode(thrown);
  if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) return message;
  // "ENOENT: no such file or directory, open '/x'"
  if (message.startsWith(`${code}: `)) return message.slice(code.length + 2);
  // "listen EADDRINUSE: address already in use 127.0.0.1:9443"
  if (message.includes(` ${code}: `)) return message.replace(` ${code}: `, ': ');
  // "spawn skopeo ENOENT", "write EPIPE", "connect ECONNREFUSED /run/berth/berthd.sock"
  return message.replace(new RegExp(` ${code}\\b`), `: ${systemWords(code)}`);
}

/** The system's words for an errno, given by its number or its name: "permission denied". */
export function systemWords(errno: number | string): string {
  for (const [number, [name, words]] of getSystemErrorMap()) {
    if (name === errno || number === -Number(errno)) return words;
  }
  return typeof errno === 'number' ? `error ${errno}` : errno;
}

/** The symbolic errno that Node and the addon put on what they throw, such as "ENOENT"; undefined where there is none. */
export function errorCode(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
}
