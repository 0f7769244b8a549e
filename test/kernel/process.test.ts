import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builderExecutable, native, type Builder } from '../../src/native/index.js';
import { inScratchOfItsOwn } from './helpers/lifecycle.js';
import { Caller } from './helpers/caller.js';
import { closesOnExec, openDescriptors } from './helpers/residue.js';

let scratch: string;

inScratchOfItsOwn((directory) => {
  scratch = directory;
});

/** An executable that does what the shell script says. */
function script(text: string): string {
  const path = join(scratch, 'script');
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

async function spawnWithZeros(executable: string): Promise<Builder> {
  const caller = openSync('/dev/zero', 'r');
  try {
    return await native.spawnBuilder(executable, caller);
  } finally {
    closeSync(caller);
  }
}

async function untilReaped(pidfd: number): Promise<void> {
  await expect.poll(() => native.reap(pidfd), { interval: 5 }).toBe(true);
}

describe('a spawned builder', () => {
  let builder: Builder;

  beforeEach(async () => {
    builder = await spawnWithZeros(builderExecutable);
  });

  afterEach(async () => {
    native.signal(builder.pidfd, 9);
    await untilReaped(builder.pidfd);
    native.close(builder.pidfd);
    native.close(builder.socket);
  });

  const fd = (number: number): string => readlinkSync(`/proc/${builder.pid}/fd/${number}`);

  it('has our standard error, the two descriptors where it looks for them, and no others', () => {
    const stray = openSync('/dev/full', 'r');
    expect(readdirSync(`/proc/${builder.pid}/fd`)).toEqual(['0', '1', '2', '3', '4']);
    expect([fd(0), fd(1), fd(2)]).toEqual(['/dev/null', '/dev/null', readlinkSync('/proc/self/fd/2')]);
    expect(fd(4)).toBe('/dev/zero');
    expect(fd(3)).toMatch(/^socket:/);
    closeSync(stray);
  });

  it('has no environment and no arguments', async () => {
    // execve(2) lets the parent go on before /proc shows the new arguments.
    const read = (name: string): string => readFileSync(`/proc/${builder.pid}/${name}`, 'utf8');
    await expect.poll(() => read('cmdline'), { interval: 2 }).toBe(`${builderExecutable}\0`);
    expect(read('environ')).toBe('');
  });

  it('blocks no signal', () => {
    expect(readFileSync(`/proc/${builder.pid}/status`, 'utf8')).toMatch(/^SigBlk:\t0+$/m);
  });

  it('is known by pid and pidfd, and our ends close on exec', () => {
    expect(readFileSync(`/proc/self/fdinfo/${builder.pidfd}`, 'utf8')).toMatch(
      new RegExp(`^Pid:\\s+${builder.pid}$`, 'm'),
    );
    expect([builder.pidfd, builder.socket].map(closesOnExec)).toEqual([true, true]);
  });
});

describe('spawning a builder', () => {
  it.each([
    ['is not there', '/no/such/builder', 'ENOENT'],
    ['is no program', '/etc/passwd', 'EACCES'],
  ])('that %s gives an error that names it, and leaves nothing', async (_, executable, code) => {
    await expect(spawnWithZeros(executable)).rejects.toThrow(
      expect.objectContaining({ code, syscall: 'execve', object: executable }),
    );
  });

  it('with a descriptor that is not open gives an error, and leaves nothing', () => {
    expect(() => native.spawnBuilder('/bin/cat', 99_999)).toThrow(expect.objectContaining({ code: 'EBADF' }));
  });
});

describe('reaping', () => {
  it('tells a running child from an ended one, takes the latter off the process table, and may be repeated', async () => {
    const { pid, pidfd, socket } = await spawnWithZeros(script('read line <&3'));
    expect(native.reap(pidfd)).toBe(false);
    expect(native.isAlive(pidfd)).toBe(true);
    writeFileSync(socket, '\n');
    await expect.poll(() => readFileSync(`/proc/${pid}/stat`, 'utf8')).toMatch(/\) Z /);
    expect(native.isAlive(pidfd)).toBe(true);
    expect(native.reap(pidfd)).toBe(true);
    expect(native.isAlive(pidfd)).toBe(false);
    expect(native.reap(pidfd)).toBe(true);
    native.close(pidfd);
    native.close(socket);
  });

  it('counts the child of another as reaped', async () => {
    const client = await Caller.connect(scratch, ['sh', '-c', '"$0" "$@"; true']);
    expect(native.reap(client.pidfd)).toBe(true);
    native.signal(client.pidfd, 9);
    await client.close();
  });

  it('needs a pidfd', () => {
    const fd = openSync('/dev/null', 'r');
    expect(() => native.reap(fd)).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'waitid' }));
    closeSync(fd);
  });
});

describe('a signal', () => {
  it('reaches the process, and a process that is gone is no error', async () => {
    const { pidfd, socket } = await spawnWithZeros(builderExecutable);
    native.signal(pidfd, 15);
    await untilReaped(pidfd);
    native.signal(pidfd, 15);
    native.close(pidfd);
    native.close(socket);
  });

  it('needs a pidfd', () => {
    const fd = openSync('/dev/null', 'r');
    expect(() => native.isAlive(fd)).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'pidfd_send_signal' }));
    expect(() => native.signal(fd, 0)).toThrow(expect.objectContaining({ code: 'EBADF' }));
    closeSync(fd);
  });
});

describe('the pipe of another process', () => {
  /** A process that has a FIFO as descriptor 8. */
  function connectWithPipe(): Promise<Caller> {
    const fifo = join(scratch, 'fifo');
    execFileSync('mkfifo', [fifo]);
    return Caller.connect(scratch, ['sh', '-c', `exec "$@" 8<>${fifo}`, 'sh']);
  }

  it('is opened for reading, and closes on exec here', async () => {
    const client = await connectWithPipe();
    const pipe = native.pipeOf(client.pid, client.pidfd, 8, 0);
    expect(closesOnExec(pipe)).toBe(true);
    expect(readlinkSync(`/proc/self/fd/${pipe}`)).toBe(join(scratch, 'fifo'));
    native.close(pipe);
    await client.close();
    rmSync(join(scratch, 'fifo'));
  });

  it('shows its end to a reader that polls, though its writers had gone before it was opened', async () => {
    const fifo = join(scratch, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const fill = `exec 9<>${fifo} 8<${fifo}; printf content >&9; exec 9>&-; exec "$@"`;
    const client = await Caller.connect(scratch, ['sh', '-c', fill, 'sh']);
    const reader = new Socket({
      fd: native.pipeOf(client.pid, client.pidfd, 8, 0),
      readable: true,
      writable: false,
    });
    let text = '';
    reader.setEncoding('utf8').on('data', (part: string) => (text += part));
    await once(reader, 'end');
    expect(text).toBe('content');
    await client.close();
    rmSync(fifo);
  });

  it("is not opened when it is another user's, nor is anything else", async () => {
    const client = await connectWithPipe();
    const refused = expect.objectContaining({ code: 'EBADF', syscall: 'statx' }) as unknown;
    expect(() => native.pipeOf(client.pid, client.pidfd, 8, 2002)).toThrow(refused);
    // Its standard output is a socket.
    expect(() => native.pipeOf(client.pid, client.pidfd, 1, 0)).toThrow(refused);
    await client.close();
    rmSync(join(scratch, 'fifo'));
  });

  it('that it does not have gives an error', async () => {
    const client = await Caller.connect(scratch);
    expect(() => native.pipeOf(client.pid, client.pidfd, 9999, 0)).toThrow(
      expect.objectContaining({ code: 'ENOENT', syscall: 'open', object: 'fd/9999' }),
    );
    await client.leave();
    expect(() => native.pipeOf(client.pid, client.pidfd, 1, 0)).toThrow(/No such (file|process)/);
    await client.close();
  });
});

describe('a lock', () => {
  it('is held by one descriptor until it is closed', () => {
    const path = join(scratch, 'lock');
    const first = openSync(path, 'w');
    const second = openSync(path, 'w');
    expect(native.lock(first)).toBe(true);
    expect(native.lock(second)).toBe(false);
    closeSync(first);
    expect(native.lock(second)).toBe(true);
    closeSync(second);
  });

  it('needs an open descriptor', () => {
    expect(() => native.lock(99_999)).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'flock' }));
  });
});

describe('closing', () => {
  it('a descriptor that is not open gives an error', () => {
    expect(() => native.close(99_999)).toThrow(
      expect.objectContaining({ code: 'EBADF', errno: 9, syscall: 'close', object: 'descriptor' }),
    );
  });

  it.each([NaN, 2 ** 32, 0.5, -(2 ** 31) - 1, '3', undefined, null])('%s is refused: it closes nothing', (value) => {
    const open = openDescriptors();
    expect(() => native.close(value as number)).toThrow(TypeError);
    expect(openDescriptors()).toEqual(open);
  });
});

describe('a path with a NUL', () => {
  it('is refused: the kernel would see another path', () => {
    expect(() => native.unpin('/tmp/a\0b')).toThrow(TypeError);
    expect(() => native.openPin('/tmp/a\0b')).toThrow(TypeError);
  });
});

describe('the account of a user', () => {
  it('has name, home, shell and the groups that were asked for', async () => {
    expect(await native.account(0, [0, 4_000_000_001])).toMatchObject({
      name: 'root',
      gid: 0,
      home: '/root',
      gids: [0],
      groups: [{ gid: 0, name: 'root' }],
    });
  });

  it('is undefined for a uid that the name service does not know', async () => {
    expect(await native.account(4_000_000_001, [])).toBeUndefined();
  });
});
