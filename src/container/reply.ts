import type { AskedFor } from '../options/index.js';
import { encodeReply, frame } from '../protocol/index.js';
import type { Reservation } from './container.js';
import { interiorMessage, PLAIN_INTERIOR } from './interior.js';

/** Answers kept for each container: steps that differ in where they start, or in what they set. */
const MOST_KEPT = 16;

/**
 * The framed answer to a launch. It is made once for each way in which programs are to start: hundreds of ranks ask.
 *
 * @param entrypoint are programs started by the image's entrypoint where the options do not say?
 */
export function launchReply(container: Reservation, { options, programsKey }: AskedFor, entrypoint: boolean): Buffer {
  const made = container.replies.get(programsKey);
  if (made) return made;
  const { id, userNamespace, originMntns, image, digest, interior = PLAIN_INTERIOR, replies } = container;
  const launch = {
    containerId: id,
    userNamespace,
    originMntns,
    image,
    digest,
    interior: interiorMessage(interior, options, entrypoint),
  };
  const reply = frame(encodeReply({ launch }));
  const [oldest] = replies.keys();
  if (replies.size >= MOST_KEPT && oldest !== undefined) replies.delete(oldest);
  replies.set(programsKey, reply);
  return reply;
}
