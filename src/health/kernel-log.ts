import { closeSync, constants, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../errors/index.js';
import { readSmall, type Places } from './places.js';

/** Longest record of /dev/kmsg, in bytes (kernel/printk: PRINTK_MESSAGE_MAX). */
const RECORD = 8192;

/** Facility of the kernel itself (syslog(3)): what programs write into its log has another. */
const KERNEL = 0;

export interface Pattern {
  readonly severity: 'warn' | 'fail';
  readonly what: string;
  readonly pattern: RegExp;
}

/**
 * What the kernel says when something is broken that a reboot or a technician has to mend.
 *
 * The kernel begins some lines with the name of a program, at most 15 characters of a user's choice, and goes on with
 * "[4711]: segfault at", " invoked oom-killer:" and the like. So each pattern is anchored, and asks for more than can be
 * in such a name, or for what follows in the kernel's own lines alone: no user shall have a node drained by what they
 * call a program.
 */
export const patterns: readonly Pattern[] = [
  { severity: 'fail', what: 'kernel fault', pattern: /^(Oops: )?general protection fault, / },
  {
    severity: 'fail',
    what: 'Oops',
    // arch/x86/kernel/dumpstack.c, arch/arm64/kernel/traps.c: what happened, its code, its number, and flags in capitals.
    pattern: /^(Oops: |Internal error: )?[A-Za-z][A-Za-z0-9 -]{2,60}: [0-9a-f]{4,16} \[#\d+\]( +[A-Z_]+)* *$/,
  },
  {
    severity: 'fail',
    what: 'kernel bug',
    pattern: /^(BUG: unable to handle|kernel BUG at \S+:\d+!|BUG: kernel NULL pointer)/,
  },
  {
    severity: 'fail',
    what: 'lockup',
    pattern: /^watchdog: BUG: soft lockup|^NMI watchdog: Watchdog detected hard LOCKUP/,
  },
  {
    severity: 'fail',
    what: 'machine check',
    pattern: /^mce: \[Hardware Error\]: (CPU \d+: Machine Check Exception|Machine check events logged)/,
  },
  {
    severity: 'fail',
    what: 'file system error',
    pattern: /^(EXT4-fs error \(device |XFS \(\S+\): (Corruption|Metadata corruption)|BTRFS error \(device )/,
  },
  {
    severity: 'warn',
    what: 'disk error',
    pattern: /^(blk_update_request: )?(critical medium|I\/O|critical target) error, dev (?!loop|fd|sr)\S+, /,
  },
  { severity: 'warn', what: 'hung task', pattern: /^INFO: task .{1,40} blocked for more than \d+ seconds/ },
  { severity: 'warn', what: 'GPU error', pattern: /^NVRM: Xid \(PCI:[0-9a-f]{4,8}:[0-9a-f]{2}:/ },
  // drivers/edac/edac_mc.c, edac_ue_error()
  { severity: 'warn', what: 'memory error', pattern: /^EDAC MC\d+: \d+ UE .*\(.*page:0x/ },
];

/** A line that fits one. */
export interface Sighting {
  readonly pattern: Pattern;
  /** Seconds since the machine started. */
  readonly uptime: number;
  readonly line: string;
}

/** Reads the kernel's log on from where it was. */
export class KernelLog {
  #fd: number | undefined;
  #sightings: Sighting[] = [];

  constructor(private readonly places: Places) {}

  /**
   * What was seen in the last `hours`.
   *
   * @throws an error of node:fs when the log cannot be opened.
   */
  look(hours: number): readonly Sighting[] {
    this.#fd ??= openSync(join(this.places.dev, 'kmsg'), constants.O_RDONLY | constants.O_NONBLOCK);
    for (const chunk of this.#chunks(this.#fd)) this.#sightings.push(...sightingsIn(chunk));
    const uptime = Number((readSmall(this.places.proc, 'uptime') ?? '0').split(' ')[0]);
    this.#sightings = this.#sightings.filter((sighting) => uptime - sighting.uptime <= hours * 3600).slice(-1000);
    return this.#sightings;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** A record at a time from the device. Never waits: at the end it says EAGAIN. */
  *#chunks(fd: number): Generator<string> {
    const buffer = Buffer.alloc(RECORD);
    for (;;) {
      try {
        const length = readSync(fd, buffer);
        if (length === 0) return;
        yield buffer.toString('utf8', 0, length);
      } catch (error) {
        // EPIPE: records were overwritten before they were read; the next read goes on with what is there.
        if (errorCode(error) === 'EAGAIN') return;
        if (errorCode(error) !== 'EPIPE') throw error;
      }
    }
  }
}

/** Records as /dev/kmsg has them: "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT", and indented lines about devices. */
function sightingsIn(chunk: string): Sighting[] {
  return chunk.split('\n').flatMap((record) => {
    const [, priority, microseconds, line = ''] = /^(\d+),\d+,(\d+)[^;]*;(.*)$/.exec(record) ?? [];
    if (Number(priority) >> 3 !== KERNEL) return [];
    const pattern = patterns.find((one) => one.pattern.test(line));
    return pattern ? [{ pattern, uptime: Number(microseconds) / 1e6, line }] : [];
  });
}
