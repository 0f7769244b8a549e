/**
 * The contract between TypeScript and the addon: each function is one kernel facility, without policy or state.
 *
 * Descriptors are plain numbers, owned by the caller, close-on-exec, and closed with {@link close}. Every failure is
 * thrown as (or rejects with) a {@link NativeError}.
 */
declare module 'berth-native' {
  /** Thrown by every function here: the failing system call and what it was about. */
  export interface NativeError extends Error {
    /** Symbolic errno, e.g. "ENOENT". */
    code: string;
    errno: number;
    syscall: string;
    object: string;
  }

  export interface PeerCredentials {
    pid: number;
    uid: number;
    gid: number;
    /** SO_PEERPIDFD (Linux 6.5); before that pidfd_open(2) of the pid, so a recycled pid must be ruled out by the caller. */
    pidfd: number;
  }

  /** SO_PEERCRED and a pidfd of the process at the other end of a connected Unix socket. */
  export function peerCredentials(socket: number): PeerCredentials;

  /** SO_PEERGROUPS: the supplementary groups that the process at the other end had when it connected. */
  export function peerGroups(socket: number): number[];

  /**
   * sendmsg(2) of bytes and descriptors (SCM_RIGHTS) without blocking. Returns the bytes taken, which can be fewer
   * than given; 0 when the socket is full.
   */
  export function sendDescriptors(socket: number, bytes: Uint8Array, descriptors: readonly number[]): number;

  /** socketpair(2) of SOCK_SEQPACKET: what one side sends as a packet the other receives as one. */
  export function packetPair(): { ours: number; theirs: number };

  /** pipe2(2), close-on-exec; both ends block. */
  export function pipe(): { readEnd: number; writeEnd: number };

  /** send(2) of one packet, which may hold NULs, without blocking. EPIPE when the other side has closed. */
  export function sendPacket(socket: number, text: string): void;

  export interface Packet {
    /** Empty when the other side has closed. */
    text: string;
    descriptors: number[];
  }

  /**
   * recvmsg(2) of one packet, at most 64 KiB, with the descriptors beside it. Waits on a thread of its own, until one comes
   * or the other side closes: a user's file system can keep a process from doing either, even one that was killed.
   *
   * @param timeout milliseconds, after which it is NativeError ETIMEDOUT; 0 for a process that cannot be held up so
   */
  export function receivePacket(socket: number, timeout: number): Promise<Packet>;

  /**
   * The content of a file of at most `limit` bytes, EFBIG for more. One turn of the thread pool, as a file system may
   * hang; Node's own takes four, each of which a launch would wait for.
   */
  export function readFile(path: string, limit: number): Promise<Buffer>;

  export interface FileStatus {
    isRegular: boolean;
    /** Permission bits. */
    mode: number;
    uid: number;
    /** In bytes. */
    size: number;
  }

  export interface OpenedFile extends FileStatus {
    fd: number;
  }

  /** open(2), read-only and not through a symbolic link (ELOOP), and fstat(2), in one turn of the thread pool. */
  export function openFile(path: string): Promise<OpenedFile>;

  /**
   * Opens, for reading, the pipe that a process has as descriptor `fd`. EBADF when it is no pipe, or not one of the user
   * `owner`: nothing else is opened or closed, as that could wait for a file system that hangs.
   */
  export function pipeOf(pid: number, pidfd: number, fd: number, owner: number): number;

  /** pidfd_send_signal(2) with signal 0: is the process still there and not yet reaped? */
  export function isAlive(pidfd: number): boolean;

  /** poll(2) of a pidfd: has the process ended, whether it was reaped or not? */
  export function hasEnded(pidfd: number): boolean;

  /**
   * Resolves when the process has ended, be it a child of ours or not. A thread of its own waits for all such processes:
   * it sleeps until one ends. The descriptor may be closed meanwhile; what waits keeps this process from ending no longer.
   */
  export function whenEnded(pidfd: number): Promise<void>;

  /** pidfd_open(2); undefined when there is no such process. */
  export function openPidfd(pid: number): number | undefined;

  /** fcntl(2), F_DUPFD_CLOEXEC. */
  export function duplicate(descriptor: number): number;

  /** pidfd_getfd(2) (Linux 5.6): a duplicate of another process's descriptor. */
  export function descriptorOf(pidfd: number, descriptor: number): number;

  /** pidfd_send_signal(2). A process that is gone is not an error. */
  export function signal(pidfd: number, signal: number): void;

  /** Opens /proc/PID/ns/KIND and makes sure, through the pidfd, that it was that process's. */
  export function openNamespace(pid: number, pidfd: number, kind: 'mnt' | 'user' | 'net' | 'ipc' | 'uts'): number;

  /** The user namespace that owns a namespace: ioctl NS_GET_USERNS (Linux 4.9). */
  export function owningUserNamespace(namespace: number): number;

  /** The inode number that names a namespace. */
  export function namespaceId(namespace: number): number;

  export interface ImageMount {
    /** A detached mount: fsmount(2), read-only, nosuid, nodev. */
    mount: number;
    /** N of /dev/loopN: the next mount's `candidate`. */
    loopIndex: number;
    /** Microseconds for the loop device and for the mount. */
    loopMicroseconds: number;
    mountMicroseconds: number;
  }

  /**
   * Mounts an image file, opened by the caller, through a read-only autoclear loop device. `candidate` is the index of
   * a loop device that may serve this file already, or -1: it is shared where it does, and with it the kernel's cached,
   * decompressed pages. Runs on the thread pool, as a file system may hang. Nothing outlives the returned descriptor.
   */
  export function mountImage(image: number, filesystem: 'squashfs' | 'erofs', candidate: number): Promise<ImageMount>;

  /**
   * {@link openFile} and {@link mountImage} in one turn of the thread pool. Only a regular file of `size` bytes that is
   * `owner`'s, and that nobody else may write to, is mounted; of any other the kernel sees nothing, and what it is comes
   * back instead.
   */
  export function mountStoredImage(
    path: string,
    owner: number,
    size: number,
    filesystem: 'squashfs' | 'erofs',
    candidate: number,
  ): Promise<ImageMount | FileStatus>;

  /** memfd_create(2): a file of `size` bytes without a name, in memory as far as it is written to. */
  export function memoryFile(size: number): number;

  /**
   * Mounts a formatted file, opened by the caller for writing, through an autoclear loop device of its own, nosuid, nodev
   * and noatime; its root directory is emptied and becomes the user's, mode 0700. Nobody may be able to write to the
   * file. On the thread pool. Returns a detached mount; nothing outlives that and the file's own descriptor.
   */
  export function mountCache(file: number, filesystem: 'xfs' | 'ext4', uid: number, gid: number): Promise<number>;

  /** mount_setattr(MOUNT_ATTR_IDMAP) on a detached mount (Linux 5.12). */
  export function idmapMount(mount: number, userNamespace: number): void;

  /**
   * Writes /proc/PID/uid_map and gid_map, one write each, as user_namespaces(7) asks; before them "deny" to setgroups,
   * unless `mayDropGroups`: who drops a group gains what a file denies to that group.
   */
  export function writeIdMaps(pid: number, pidfd: number, uidMap: string, gidMap: string, mayDropGroups: boolean): void;

  export interface Builder {
    pid: number;
    pidfd: number;
    /** Our end of the socket pair; the builder's is its descriptor 3. */
    socket: number;
  }

  /**
   * Starts an executable of ours with /dev/null as input and output, our standard error, and as descriptor 3 the socket;
   * 4 is a duplicate of `other`, where that is given. It is killed when this process ends. On the thread pool: vfork(2)
   * waits until the new process has called execve(2), which on a busy node takes a while.
   */
  export function spawnBuilder(executable: string, other?: number): Promise<Builder>;

  /** waitid(2) of a child, without waiting: true when it was reaped, or is not ours. */
  export function reap(pidfd: number): boolean;

  /** Bind-mounts a namespace on a file (made here, mode 0400), which keeps it alive without a process. */
  export function pin(namespace: number, path: string): void;

  /** Undoes {@link pin}. A path that is not pinned, or not there, is no error. */
  export function unpin(path: string): void;

  /** Opens a pinned namespace; undefined when the file is not a pin. */
  export function openPin(path: string): number | undefined;

  /** Makes `path` a private tmpfs mount (mode 0700), unless it is one already: copies of our mount namespace don't share its later mounts. */
  export function preparePins(path: string): void;

  export interface Account {
    name: string;
    gid: number;
    home: string;
    shell: string;
    gecos: string;
    /** As initgroups(3) would set them. */
    gids: number[];
    /** Names of the groups that were asked for, without those that the name service does not know. */
    groups: { gid: number; name: string }[];
  }

  /**
   * getpwuid_r(3), getgrouplist(3) and, for each of `gids`, getgrgid_r(3), on the thread pool. Undefined when the name
   * service knows no such uid.
   */
  export function account(uid: number, gids: readonly number[]): Promise<Account | undefined>;

  /** flock(2), exclusive, without waiting: false when another holds it. */
  export function lock(fd: number): boolean;

  /**
   * Sends one framed request to a Unix stream socket, and waits, on a thread of the pool, for its reply and the descriptors
   * beside it, which Node's own sockets would lose. EAGAIN when there is none for 30 s.
   */
  export function exchange(path: string, request: Uint8Array): Promise<{ reply: Buffer; descriptors: number[] }>;

  /** sd_notify(3)'s datagram to a Unix socket; a leading "@" names an abstract one. */
  export function notify(path: string, message: string): void;

  /** mallopt(3), M_ARENA_MAX: threads that start from now on share two arenas of malloc's instead of having one each. */
  export function shareArenas(): void;

  /** malloc_trim(3): gives memory that was freed back to the kernel. V8's own heap is not malloc's. */
  export function trimMemory(): void;

  export function close(fd: number): void;
}
