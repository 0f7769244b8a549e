import { spawn, type ChildProcess } from 'node:child_process';
import { BerthError } from '../errors/index.js';
import { native, saverExecutable, type Packet } from '../native/index.js';
import { answerOf, explainRefusal, OpenFault, requestOf } from './opener.js';
import type { Caller, LaunchOrder } from './order.js';
import type { User } from './user-process.js';

/** Milliseconds for which the file's last step is waited for: its file system writes it down then. */
const COMMIT_LIMIT = 120_000;

/**
 * A file that is written for a user, by a process that has that user's rights and no others. It gets its name when it is
 * whole, and is gone when that does not come, also when berthd is killed.
 */
export class SavedFile {
  private constructor(
    private readonly saver: ChildProcess,
    private readonly socket: number,
    /** Empty, to read and write. */
    readonly descriptor: number,
  ) {}

  /**
   * @param caller pidfd of the process in whose mount namespace the path is; stays the caller's.
   * @param timeout milliseconds.
   * @throws OpenFault when there can be no such file.
   */
  static async make(user: User, path: string, caller: number, timeout: number): Promise<SavedFile> {
    const { ours, theirs } = native.packetPair();
    const saver = spawn(saverExecutable, {
      env: {},
      cwd: '/',
      stdio: ['ignore', 'ignore', 'ignore', theirs, caller],
      // It outlives berthd for as long as it takes to remove what is not whole.
      detached: true,
    });
    native.close(theirs);
    try {
      native.sendPacket(ours, requestOf({ user, path }));
      const [descriptor] = (await wordOf(saver, ours, timeout)).descriptors;
      if (descriptor === undefined) throw new OpenFault('the process that makes it ended without an answer');
      return new SavedFile(saver, ours, descriptor);
    } catch (error) {
      native.close(ours);
      throw error;
    }
  }

  /**
   * Gives the file its name.
   *
   * @throws OpenFault
   */
  async commit(): Promise<void> {
    native.sendPacket(this.socket, 'commit');
    const { text } = await wordOf(this.saver, this.socket, COMMIT_LIMIT);
    if (text !== 'done') throw new OpenFault('the process that keeps it ended without an answer');
  }

  /** Lets go of it. Without {@link commit} nothing is left. */
  close(): void {
    native.close(this.descriptor);
    native.close(this.socket);
  }
}

/**
 * Looks whether a container could be saved as the file that its options name: whoever hears of it only when the step has
 * ended has computed for nothing.
 *
 * @param timeout milliseconds.
 * @throws BerthError BERTH_SAVE_TARGET
 */
export async function checkSaveTarget(order: LaunchOrder, { pidfd }: Caller, timeout: number): Promise<void> {
  const path = order.options.save ?? '';
  try {
    (await SavedFile.make(order, path, pidfd, timeout)).close();
  } catch (error) {
    if (!(error instanceof OpenFault)) throw error;
    throw new BerthError('BERTH_SAVE_TARGET', { path, host: order.nodeName, why: error.message });
  }
}

async function wordOf(saver: ChildProcess, socket: number, timeout: number): Promise<Packet> {
  const started = new Promise<never>((_, reject) => {
    saver.once('error', (error) => reject(new OpenFault(`its saver could not be started: ${error.message}`)));
  });
  started.catch(() => undefined);
  const answer = await Promise.race([answerOf(saver, socket, timeout), started]);
  explainRefusal(answer);
  return answer;
}
