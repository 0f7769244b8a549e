import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { native } from '../../src/native/index.js';
import { inScratchOfItsOwn } from './helpers/lifecycle.js';
import { Caller } from './helpers/caller.js';
import { program, Running } from './helpers/programs.js';
import { closesOnExec, mountsBelow } from './helpers/residue.js';

let scratch: string;

inScratchOfItsOwn((directory) => {
  scratch = directory;
});

/** A process in namespaces of its own, for the time of `use`. */
async function withProcess(use: (process: Caller) => void | Promise<void>): Promise<void> {
  const process = await Caller.connect(scratch, ['unshare', '--user', '--mount']);
  try {
    await use(process);
  } finally {
    await process.close();
  }
}

function namespaceInode(pid: number, kind: string): number {
  return statSync(`/proc/${pid}/ns/${kind}`).ino;
}

describe('a namespace of a process', () => {
  it('is opened by pid and pidfd, closes on exec, and has the inode number that the process shows', () =>
    withProcess(({ pid, pidfd }) => {
      for (const kind of ['mnt', 'user'] as const) {
        const fd = native.openNamespace(pid, pidfd, kind);
        expect(native.namespaceId(fd)).toBe(namespaceInode(pid, kind));
        expect(native.namespaceId(fd)).not.toBe(namespaceInode(process.pid, kind));
        expect(closesOnExec(fd)).toBe(true);
        native.close(fd);
      }
    }));

  it('leads from a mount namespace to the user namespace that owns it', () =>
    withProcess(({ pid, pidfd }) => {
      const mount = native.openNamespace(pid, pidfd, 'mnt');
      const user = native.owningUserNamespace(mount);
      expect(native.namespaceId(user)).toBe(namespaceInode(pid, 'user'));
      expect(closesOnExec(user)).toBe(true);
      native.close(user);
      native.close(mount);
    }));

  it('is not opened once the process is gone', () =>
    withProcess(async (client) => {
      await client.leave();
      expect(() => native.openNamespace(client.pid, client.pidfd, 'mnt')).toThrow(
        expect.objectContaining({ code: 'ENOENT', syscall: 'open', object: `/proc/${client.pid}` }),
      );
    }));

  it('is never that of another process which was given the same pid', () =>
    withProcess(async (client) => {
      await client.leave();
      const successor = await Running.start(program('same-pid'), String(client.pid));
      try {
        expect(await successor.line()).toBe('ready');
        expect(existsSync(`/proc/${client.pid}/ns/mnt`)).toBe(true);
        const gone = expect.objectContaining({ code: 'ESRCH', syscall: 'pidfd_send_signal' }) as Error;
        expect(() => native.openNamespace(client.pid, client.pidfd, 'mnt')).toThrow(gone);
        expect(() => native.writeIdMaps(client.pid, client.pidfd, '0 0 1\n', '0 0 1\n', false)).toThrow(gone);
        expect(native.isAlive(client.pidfd)).toBe(false);
        native.signal(client.pidfd, 9);
        expect(existsSync(`/proc/${client.pid}`)).toBe(true);
      } finally {
        await successor.stop();
      }
    }));

  it('asked of what is no namespace gives an error', () => {
    const fd = openSync('/dev/null', 'r');
    expect(() => native.owningUserNamespace(fd)).toThrow(
      expect.objectContaining({ code: 'ENOTTY', syscall: 'ioctl NS_GET_USERNS' }),
    );
    closeSync(fd);
    expect(() => native.namespaceId(99_999)).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'fstat' }));
  });
});

describe('writing the id maps of a process', () => {
  it('gives it the maps as they are, and forbids it to drop groups', () =>
    withProcess(({ pid, pidfd }) => {
      native.writeIdMaps(pid, pidfd, '0 500000 10\n70001 70001 1\n', '0 600000 10\n70002 70002 2\n', false);
      const columns = (name: string): string[][] =>
        readFileSync(`/proc/${pid}/${name}`, 'utf8')
          .trimEnd()
          .split('\n')
          .map((line) => line.trim().split(/\s+/));
      expect(columns('uid_map')).toEqual([
        ['0', '500000', '10'],
        ['70001', '70001', '1'],
      ]);
      expect(columns('gid_map')).toEqual([
        ['0', '600000', '10'],
        ['70002', '70002', '2'],
      ]);
      expect(readFileSync(`/proc/${pid}/setgroups`, 'utf8').trim()).toBe('deny');
    }));

  it('takes 340 lines, and no more', () =>
    withProcess(({ pid, pidfd }) => {
      const map = (lines: number): string => Array.from({ length: lines }, (_, i) => `${i * 2} ${i * 2} 1\n`).join('');
      expect(() => native.writeIdMaps(pid, pidfd, map(341), '0 0 1\n', false)).toThrow(
        expect.objectContaining({ code: 'EINVAL', syscall: 'write', object: 'uid_map' }),
      );
      native.writeIdMaps(pid, pidfd, map(340), '0 0 1\n', false);
    }));

  it('is refused the second time', () =>
    withProcess(({ pid, pidfd }) => {
      native.writeIdMaps(pid, pidfd, '0 0 1\n', '0 0 1\n', false);
      expect(() => native.writeIdMaps(pid, pidfd, '0 0 1\n', '0 0 1\n', false)).toThrow(
        expect.objectContaining({ code: 'EPERM', syscall: 'write', object: 'uid_map' }),
      );
    }));
});

describe('the directory of pins', () => {
  it('becomes a tmpfs of its own that root alone may enter and that shares no mounts', () => {
    const pins = join(scratch, 'pins');
    mkdirSync(pins);
    native.preparePins(pins);
    const line = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .find((each) => each.split(' ')[4] === pins);
    const [mount = '', filesystem = ''] = line?.split(' - ') ?? [];
    expect(filesystem).toMatch(/^tmpfs berth /);
    expect(mount).toMatch(/nosuid,nodev,noexec/);
    expect(mount).not.toMatch(/shared:|master:/);
    expect(statSync(pins).mode & 0o7777).toBe(0o700);
    removePins(pins);
  });

  it('is prepared once, however often that is asked, and keeps what is in it', () => {
    const pins = join(scratch, 'pins');
    mkdirSync(pins);
    native.preparePins(pins);
    writeFileSync(join(pins, 'kept'), '');
    native.preparePins(pins);
    expect(mountsBelow(scratch)).toEqual([pins]);
    expect(existsSync(join(pins, 'kept'))).toBe(true);
    removePins(pins);
  });

  it('becomes private again where it was shared', () => {
    const pins = join(scratch, 'pins');
    mkdirSync(pins);
    native.preparePins(pins);
    run('mount', '--make-shared', pins);
    native.preparePins(pins);
    expect(
      readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .find((each) => each.includes(` ${pins} `)),
    ).not.toMatch(/shared:/);
    removePins(pins);
  });

  it('has to be there', () => {
    expect(() => native.preparePins(join(scratch, 'absent'))).toThrow(
      expect.objectContaining({ code: 'ENOENT', syscall: 'statx', object: join(scratch, 'absent') }),
    );
  });
});

describe('a pin', () => {
  let pins: string;

  beforeEach(() => {
    pins = join(scratch, 'pins');
    mkdirSync(pins);
    native.preparePins(pins);
  });

  afterEach(() => {
    removePins(pins);
  });

  it('keeps a mount namespace alive without any process, until it is unpinned', async () => {
    const path = join(pins, 'mnt');
    let inode = 0;
    await withProcess(({ pid, pidfd }) => {
      const mount = native.openNamespace(pid, pidfd, 'mnt');
      inode = native.namespaceId(mount);
      native.pin(mount, path);
      native.close(mount);
    });
    const fd = native.openPin(path);
    if (fd === undefined) throw new Error('it is not a pin');
    expect(closesOnExec(fd)).toBe(true);
    expect(native.namespaceId(fd)).toBe(inode);
    native.close(native.owningUserNamespace(fd));
    native.close(fd);
    native.unpin(path);
    expect(native.openPin(path)).toBeUndefined();
    expect(existsSync(path)).toBe(false);
  });

  it('is not made over a file that is there', () =>
    withProcess(({ pid, pidfd }) => {
      const path = join(pins, 'mnt');
      writeFileSync(path, 'precious');
      const mount = native.openNamespace(pid, pidfd, 'mnt');
      expect(() => native.pin(mount, path)).toThrow(
        expect.objectContaining({ code: 'EEXIST', syscall: 'open', object: path }),
      );
      native.close(mount);
      expect(readFileSync(path, 'utf8')).toBe('precious');
    }));

  it('that could not be mounted leaves no file', () => {
    const path = join(pins, 'mnt');
    expect(() => native.pin(99_999, path)).toThrow(
      expect.objectContaining({ code: 'ENOENT', syscall: 'mount', object: path }),
    );
    expect(existsSync(path)).toBe(false);
  });

  it.each(['a file', 'a directory', 'nothing', 'a link', 'something below a file'])('is told from %s', (what) => {
    const path = join(pins, 'mnt');
    if (what === 'a file' || what === 'something below a file') writeFileSync(path, '');
    if (what === 'a directory') mkdirSync(path);
    if (what === 'a link') symlinkSync('/proc/self/ns/mnt', path);
    expect(native.openPin(what === 'something below a file' ? join(path, 'mnt') : path)).toBeUndefined();
  });

  it('that is not there, or is only a file, can be unpinned', () => {
    native.unpin(join(pins, 'absent'));
    native.unpin(join(pins, 'absent', 'mnt'));
    writeFileSync(join(pins, 'file'), '');
    native.unpin(join(pins, 'file', 'mnt'));
    native.unpin(join(pins, 'file'));
    expect(existsSync(join(pins, 'file'))).toBe(false);
  });
});

function removePins(pins: string): void {
  run('umount', pins);
}

function run(command: string, ...args: readonly string[]): void {
  execFileSync(command, args);
}
