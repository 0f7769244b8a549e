import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { native } from '../../src/native/index.js';
import { inScratchOfItsOwn } from './helpers/lifecycle.js';
import { Caller, descriptorOf } from './helpers/caller.js';
import { program, Running } from './helpers/programs.js';
import { closesOnExec } from './helpers/residue.js';

let scratch: string;

inScratchOfItsOwn((directory) => {
  scratch = directory;
});

describe("a client's credentials", () => {
  it('are its user, group and process as the kernel knows them', async () => {
    const client = await Caller.connect(scratch, ['setpriv', '--reuid=70001', '--regid=70002', '--clear-groups']);
    expect(client.credentials).toMatchObject({ uid: 70_001, gid: 70_002 });
    expect(readFileSync(`/proc/${client.pid}/cmdline`, 'utf8')).toContain('caller');
    expect(closesOnExec(client.pidfd)).toBe(true);
    expect(native.isAlive(client.pidfd)).toBe(true);
    await client.close();
  });

  it('keep the full range of uids', async () => {
    const client = await Caller.connect(scratch, [
      'setpriv',
      '--reuid=4294967294',
      '--regid=4294967294',
      '--clear-groups',
    ]);
    expect(client.credentials).toMatchObject({ uid: 4_294_967_294, gid: 4_294_967_294 });
    await client.close();
  });

  it('name the process that connected, also after it has ended', async () => {
    const client = await Caller.connect(scratch);
    await client.leave();
    expect(native.isAlive(client.pidfd)).toBe(false);
    await client.close();
  });

  it('are refused for what is no socket', () => {
    const fd = openSync('/dev/null', 'r');
    expect(() => native.peerCredentials(fd)).toThrow(
      expect.objectContaining({ code: 'ENOTSOCK', syscall: 'getsockopt', object: 'SO_PEERCRED' }),
    );
    closeSync(fd);
  });
});

describe('sending descriptors', () => {
  it('delivers bytes, and says how many were taken', async () => {
    const client = await Caller.connect(scratch);
    const fd = openSync('/dev/null', 'r');
    expect(native.sendDescriptors(descriptorOf(client.socket), Buffer.from('hello'), [fd, fd])).toBe(5);
    closeSync(fd);
    await client.close();
  });

  it('into a socket that is full takes nothing and does not wait', async () => {
    const client = await Caller.connect(scratch);
    const socket = descriptorOf(client.socket);
    const fd = openSync('/dev/null', 'r');
    const bytes = Buffer.alloc(60_000);
    let taken = 0;
    for (let sent = 1; sent > 0; taken += sent) sent = native.sendDescriptors(socket, bytes, [fd]);
    expect(taken).toBeGreaterThan(0);
    expect(native.sendDescriptors(socket, bytes, [fd])).toBe(0);
    closeSync(fd);
    await client.close();
  });

  it('to a client that is gone gives an error, not a signal', async () => {
    const client = await Caller.connect(scratch);
    const socket = descriptorOf(client.socket);
    await client.leave();
    expect(() => native.sendDescriptors(socket, Buffer.from('x'), [])).toThrow(
      expect.objectContaining({ code: 'EPIPE', syscall: 'sendmsg', object: 'client' }),
    );
    await client.close();
  });

  it('that are not open, or too many, gives an error', async () => {
    const client = await Caller.connect(scratch);
    const socket = descriptorOf(client.socket);
    expect(() => native.sendDescriptors(socket, Buffer.from('x'), [99_999])).toThrow(
      expect.objectContaining({ code: 'EBADF', syscall: 'sendmsg' }),
    );
    expect(() => native.sendDescriptors(socket, Buffer.from('x'), Array<number>(17).fill(0))).toThrow(
      expect.objectContaining({ code: 'EINVAL', object: 'too many descriptors' }),
    );
    await client.close();
  });

  it('takes nothing else for bytes and descriptors', () => {
    expect(() => native.sendDescriptors(0, 'text' as unknown as Uint8Array, [])).toThrow(TypeError);
    expect(() => native.sendDescriptors(0, new Uint8Array(1), 3 as unknown as number[])).toThrow(TypeError);
    expect(() => native.sendDescriptors(0, new Uint8Array(1), [NaN])).toThrow(TypeError);
  });
});

describe('notifying the service manager', () => {
  it.each(['path', 'abstract'])('reaches a socket with a name that is %s', async (kind) => {
    const address = kind === 'path' ? join(scratch, 'notify') : `@berth-test-${process.pid}`;
    const manager = await Running.start(program('datagram'), address);
    expect(await manager.line()).toBe('ready');
    native.notify(address, 'READY=1');
    expect(await manager.line()).toBe('READY=1');
    await manager.stop();
  });

  it('gives an error where nobody listens, or the path is too long', () => {
    const path = join(scratch, 'absent');
    expect(() => native.notify(path, 'READY=1')).toThrow(
      expect.objectContaining({ code: 'ENOENT', syscall: 'sendto', object: path }),
    );
    expect(() => native.notify('x'.repeat(200), 'READY=1')).toThrow(expect.objectContaining({ code: 'ENAMETOOLONG' }));
  });
});
