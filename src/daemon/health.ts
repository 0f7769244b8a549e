import type { Health } from '../health/index.js';
import type { v1 } from '../protocol/index.js';
import type { Connection } from './connection.js';
import type { Reconciler } from './reconcile.js';

/** Most bytes of text in one reply: proto/berth.options. */
const PIECE = 4096;

/** Answers `berth health`, in as many replies as its text needs; what a missed epilog left is looked for afterwards. */
export async function answerHealth(
  { health, reconciler }: { readonly health: Health; readonly reconciler: Reconciler },
  request: v1.HealthRequest,
  connection: Connection,
): Promise<void> {
  connection.stayOpen();
  const { uid, pid } = connection.peer;
  const { text, exitStatus } = await health.answer({ uid, pid, request });
  const bytes = Buffer.from(text);
  for (let at = 0; at === 0 || at < bytes.length; at += PIECE) {
    const more = at + PIECE < bytes.length;
    connection.reply({ health: { exitStatus, text: bytes.subarray(at, at + PIECE), more } });
  }
  if (uid === 0) reconciler.healthAsked();
}
