// Which lines of the kernel log are findings: those of a broken kernel, and none that a user can have it write.
import { describe, expect, it } from 'vitest';
import { patterns } from '../../src/health/kernel-log.js';

const found = (line: string): string | undefined => patterns.find(({ pattern }) => pattern.test(line))?.what;

const BROKEN: readonly (readonly [what: string, line: string])[] = [
  ['Oops', 'Oops: 0002 [#1] PREEMPT SMP NOPTI'],
  ['Oops', 'Oops: 0000 [#1]'],
  ['Oops', 'Oops: Oops: 0000 [#1] SMP NOPTI'],
  ['Oops', 'Oops: stack segment: 0000 [#1] SMP PTI'],
  ['Oops', 'divide error: 0000 [#2] PREEMPT SMP'],
  ['Oops', 'Internal error: Oops: 0000000096000004 [#1]  SMP'],
  ['Oops', 'Internal error: synchronous external abort: 0000000096000210 [#1] PREEMPT SMP'],
  ['kernel bug', 'BUG: unable to handle page fault for address: 00000000deadbeef'],
  ['kernel bug', 'BUG: kernel NULL pointer dereference, address: 0000000000000008'],
  ['kernel bug', 'kernel BUG at fs/ext4/inode.c:2738!'],
  ['kernel bug', 'kernel BUG at /build/linux/mm/slub.c:305!'],
  [
    'kernel fault',
    'general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] PREEMPT SMP',
  ],
  [
    'kernel fault',
    'Oops: general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP',
  ],
  ['lockup', 'watchdog: BUG: soft lockup - CPU#3 stuck for 26s! [kworker/3:1:115]'],
  ['lockup', 'NMI watchdog: Watchdog detected hard LOCKUP on cpu 2'],
  ['machine check', 'mce: [Hardware Error]: Machine check events logged'],
  [
    'file system error',
    'EXT4-fs error (device sda1): ext4_lookup:1785: inode #131081: comm ls: deleted inode referenced',
  ],
  ['file system error', 'XFS (nvme0n1p2): Metadata corruption detected at xfs_agi_verify+0x36/0x110 [xfs]'],
  ['disk error', 'I/O error, dev sda, sector 4711 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2'],
  ['disk error', 'blk_update_request: critical medium error, dev nvme0n1, sector 4711'],
  ['hung task', 'INFO: task cp:4711 blocked for more than 120 seconds.'],
  ['GPU error', 'NVRM: Xid (PCI:0000:3b:00): 79, pid=4711, GPU has fallen off the bus.'],
  [
    'memory error',
    'EDAC MC0: 1 UE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x1a2b offset:0x0 grain:32)',
  ],
];

/** How lines of the kernel go on that begin with the name of a program, of at most 15 characters. */
const AFTER_A_NAME = [
  '[4711]: segfault at 0 ip 00005587d2efe190 sp 00007ffe78f624a0 error 6 in named[1190,5587d2efe000+1000]',
  ' invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0',
  ': page allocation failure: order:9, mode:0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO), nodemask=(null)',
  ' (4711): drop_caches: 3',
  ' (4711) used greatest stack depth: 11000 bytes left',
  '[4711] bad frame in rt_sigreturn frame:00000000 ip:0 sp:0 orax:0 in named',
];

const NAMES = [
  'Oops: 0000 [#1]',
  'kernel BUG at x',
  'kernel BUG at a:1!'.slice(0, 15),
  'NVRM: Xid (PCI:',
  'EDAC MC0: 1 UE ',
  'INFO: task a:1 b',
  ...BROKEN.map(([, line]) => line.slice(0, 15)),
];

describe('the kernel log', () => {
  it.each(BROKEN)('%s: %s', (what, line) => {
    expect(found(line)).toBe(what);
  });

  it('has nothing that a user could have it say by the name of a program', () => {
    const lines = NAMES.flatMap((name) => AFTER_A_NAME.map((rest) => name + rest));
    const named = NAMES.flatMap((name) => [
      `[  14466] 65534 14466     5759     5135     4896      239         0    90112        0             0 ${name}`,
      `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),task=${name},pid=14466,uid=65534`,
      `Memory cgroup out of memory: Killed process 14466 (${name}) total-vm:23036kB, anon-rss:19584kB`,
      `traps: ${name}[4711] general protection fault ip:0 sp:0 error:0 in named[1000,2000]`,
    ]);
    expect([...lines, ...named].filter((line) => found(line) !== undefined)).toEqual([]);
  });
});
