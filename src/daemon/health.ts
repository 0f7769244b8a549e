import type { Health } from '../health/index.js';
import type { v1 } from '../protocol/index.js';
import type { Connection } from './connection.js';

/** Most bytes of text in one reply: proto/berth.options. */
const PIECE = 4096;

/** Answers `berth health`, in as many replies as its text needs. */
export async function answerHealth(health: Health, request: v1.HealthRequest, connection: Connection): Promise<void> {
  connection.stayOpen();
  const { uid, pid } = connection.peer;
  const { text, exitStatus } = await health.answer({ uid, pid, request });
  const bytes = Buffer.from(text);
  for (let at = 0; at === 0 || at < bytes.length; at += PIECE) {
    const more = at + PIECE < bytes.length;
    connection.reply({ health: { exitStatus, text: bytes.subarray(at, at + PIECE), more } });
  }
}
