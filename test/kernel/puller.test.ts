// What berthd does around `berth pull`: whose process it is, who shares it, and how it ends. A script stands in the command's
// place, and does what the test wants; the command itself is tested with registries.
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/index.js';
import { ImageStore } from '../../src/image/index.js';
import { Puller, type PullOrder } from '../../src/launch/index.js';
import { makeScratch, removeScratch } from './helpers/scratch.js';

const nobody = { uid: 65_534, gid: 65_534, gids: [65_534, 4] } as const;
const app: PullOrder = { ...nobody, reference: 'example.org/app:1', nodeName: 'n1' };

let scratch: string;
let script: string;
let store: ImageStore;
beforeAll(async () => {
  scratch = makeScratch();
  chmodSync(scratch, 0o777);
  script = join(scratch, 'script');
  store = await openStore();
});
afterAll(() => {
  removeScratch(scratch);
});

beforeEach(() => {
  writeFileSync(join(scratch, 'starts'), '', { mode: 0o666 });
  chmodSync(join(scratch, 'starts'), 0o666);
});

function openStore(): Promise<ImageStore> {
  return ImageStore.open({ path: join(scratch, 'store'), compressionLevel: 1 });
}

/** A puller whose pulls run this, in the scratch directory. */
function makePuller(body: string, toml = ''): Puller {
  writeFileSync(script, `cd ${scratch}; echo start >>starts\n${body}\n`, { mode: 0o644 });
  const { config, problems } = parseConfig(toml, 'test');
  expect(problems).toEqual([]);
  return new Puller(config, store, '/run/berth/berthd.sock', ['/bin/sh', script]);
}

const starts = (): number => readFileSync(join(scratch, 'starts'), 'utf8').split('\n').length - 1;
const forEver = { gone: new Promise<void>(() => undefined), tell: () => undefined };

/** Somebody who waits until `leave` is called. */
function waiter(): { gone: Promise<void>; tell: () => void; leave: () => void } {
  let leave = (): void => undefined;
  const gone = new Promise<void>((resolve) => {
    leave = resolve;
  });
  return { gone, tell: () => undefined, leave };
}

async function whatItSays(body: string): Promise<string> {
  const answer = join(scratch, `answer-${String(Math.random()).slice(2)}`);
  writeFileSync(answer, '', { mode: 0o666 });
  chmodSync(answer, 0o666);
  await makePuller(`{ ${body}; } >${answer}`).pull(app, forEver);
  return readFileSync(answer, 'utf8').trim();
}

/** Processes with these words in their command line. In their own process namespace they have other numbers. */
function running(words: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => commandOf(pid).includes(words));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

async function untilRunning(words: string): Promise<void> {
  await expect.poll(() => running(words)).not.toEqual([]);
}

describe('the process', () => {
  it("is the user's, with the user's groups", async () => {
    expect(await whatItSays('id -u; id -g; id -G')).toBe('65534\n65534\n65534 4');
  });

  it('has no privilege, and can gain none', async () => {
    const status = await whatItSays("grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -s '\\t ' ' '");
    const none = '0000000000000000';
    expect(status.split('\n')).toEqual([
      ...['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map((set) => `${set}: ${none}`),
      'NoNewPrivs: 1',
    ]);
  });

  it("has an environment of its own, with berthd's socket and the site's proxies", async () => {
    process.env['SECRET'] = 'of root';
    process.env['https_proxy'] = 'http://proxy:3128';
    try {
      const names = (await whatItSays('env')).split('\n');
      expect(names).toContain('BERTH_SOCKET=/run/berth/berthd.sock');
      expect(names).toContain('HOME=/nonexistent');
      expect(names).toContain('USER=nobody');
      expect(names).toContain('https_proxy=http://proxy:3128');
      expect(names.join()).not.toContain('SECRET');
    } finally {
      delete process.env['SECRET'];
      delete process.env['https_proxy'];
    }
  });

  it('gets the reference as one word', async () => {
    const answer = join(scratch, 'words');
    writeFileSync(answer, '', { mode: 0o666 });
    chmodSync(answer, 0o666);
    await makePuller(`printf '%s|' "$@" >${answer}`).pull({ ...app, reference: '$(id)@example.org#a' }, forEver);
    expect(readFileSync(answer, 'utf8')).toBe('pull|--progress=json|--|$(id)@example.org#a|');
  });
});

describe('a pull', () => {
  it('is one for all who want the same for the same user', async () => {
    const puller = makePuller('sleep 0.2');
    const other = { ...app, uid: 65_533 };
    await Promise.all([app, app, app, other].map((order) => puller.pull(order, forEver)));
    expect(starts()).toBe(2);
  });

  it('is one at a time for all nodes with the same store', async () => {
    const body = 'mkdir alone || echo start >>starts; sleep 0.5; rmdir alone';
    const nodes = ['n1', 'n2', 'n3'];
    await Promise.all(nodes.map((nodeName) => makePuller(body).pull({ ...app, nodeName }, forEver)));
    // Nothing was brought, so that each had to try; none while another did.
    expect(starts()).toBe(3);
  });

  it('fails with what the command told', async () => {
    const told = 'berth: BERTH_PULL_DENIED: no\\nberth:   why: because\\nberth:   hint: ask\\n';
    await expect(makePuller(`printf '${told}' >&2; exit 4`).pull(app, forEver)).rejects.toMatchObject({
      code: 'BERTH_PULL_DENIED',
      exitStatus: 4,
      what: 'no',
      why: 'because',
      hint: 'ask',
    });
  });

  it('that tells nothing fails all the same', async () => {
    await expect(makePuller('exit 3').pull(app, forEver)).rejects.toMatchObject({
      code: 'BERTH_PULL_FAILED',
      why: 'berth pull ended with status 3',
    });
  });

  it('tells those who wait how it is going', async () => {
    const heard: string[] = [];
    const tell = (text: string): void => {
      if (text !== '') heard.push(text);
    };
    const line = '{"event":"progress","received":34,"size":80,"bytesPerSecond":12,"secondsLeft":4}';
    await makePuller(`echo '${line}'; sleep 1.3`).pull(app, { ...forEver, tell });
    expect(heard).toEqual(['n1: pulling example.org/app:1: 34 of 80 B, 12 B/s, 4 s left']);
  });

  describe('that is killed, as by a kernel that is short of memory,', () => {
    const kill = async (): Promise<void> => {
      // The process itself, and not what encloses it, which has the same words in its command line.
      const itself = (): number[] => running('sleep 66.25').filter((pid) => commandOf(pid).startsWith('sleep'));
      await expect.poll(itself).toHaveLength(1);
      for (const pid of itself()) process.kill(pid, 'SIGKILL');
      await expect.poll(() => running('sleep 66.25')).toEqual([]);
    };

    it('is begun once more, and those who wait hear of it', async () => {
      const heard: string[] = [];
      const tell = (text: string): void => {
        if (text !== '') heard.push(text);
      };
      const puller = makePuller('[ $(wc -l <starts) = 1 ] || exit 0; exec sleep 66.25');
      const pulled = puller.pull(app, { ...forEver, tell });
      await kill();
      await pulled;
      expect(starts()).toBe(2);
      expect(heard).toContain(
        'n1: pulling example.org/app:1: it was killed (is n1 short of memory?), and is begun once more',
      );
    });

    it('fails when that happens again', async () => {
      const pulled = makePuller('exec sleep 66.25').pull(app, forEver);
      pulled.catch(() => undefined);
      await kill();
      await kill();
      await expect(pulled).rejects.toMatchObject({
        code: 'BERTH_PULL_FAILED',
        why: 'berth pull was killed on n1, twice: is that short of memory?',
      });
      expect(starts()).toBe(2);
    });

    it('is not begun again when nobody waits any more', async () => {
      const only = waiter();
      const pulled = makePuller('exec sleep 66.25').pull(app, only);
      pulled.catch(() => undefined);
      await untilRunning('sleep 66.25');
      only.leave();
      await expect(pulled).rejects.toMatchObject({ why: 'whoever waited for it is gone' });
      await expect.poll(() => running('sleep 66.25')).toEqual([]);
      await sleep(1500);
      expect(starts()).toBe(1);
    });
  });

  it('takes no longer than the site allows', async () => {
    const puller = makePuller('exec sleep 61.25', '[store]\npull_timeout = 1\n');
    await expect(puller.pull(app, forEver)).rejects.toMatchObject({
      code: 'BERTH_PULL_FAILED',
      why: 'it took longer than 1 s ([store] pull_timeout)',
    });
    expect(running('sleep 61.25')).toEqual([]);
  });

  it('ends with all that it started when the last who waited is gone, and no sooner', async () => {
    const puller = makePuller('setsid sleep 62.25 & sleep 63.25 & wait');
    const [first, last] = [waiter(), waiter()];
    const results = [puller.pull(app, first), puller.pull(app, last)];
    for (const result of results) result.catch(() => undefined);
    await untilRunning('sleep 62.25');
    await untilRunning('sleep 63.25');
    first.leave();
    await expect(results[0]).rejects.toMatchObject({ code: 'BERTH_PULL_FAILED' });
    expect(running('sleep 63.25')).not.toEqual([]);
    last.leave();
    await expect(results[1]).rejects.toMatchObject({ code: 'BERTH_PULL_FAILED' });
    await expect.poll(() => [...running('sleep 62.25'), ...running('sleep 63.25')]).toEqual([]);
  });

  it('leaves nothing running when it has ended by itself, not even what has left its session', async () => {
    await makePuller('setsid sleep 65.25 & sleep 0.2').pull(app, forEver);
    await expect.poll(() => running('sleep 65.25')).toEqual([]);
  });

  it('that does not listen to SIGTERM is killed', async () => {
    const puller = makePuller("trap '' TERM; while :; do sleep 64.25; done");
    const only = waiter();
    const result = puller.pull(app, only);
    result.catch(() => undefined);
    await untilRunning('sleep 64.25');
    only.leave();
    await expect(result).rejects.toThrow();
    await expect.poll(() => running('sleep 64.25')).toEqual([]);
  });

  it('is one of a few that a user may have on a node', async () => {
    const puller = makePuller('sleep 0.5');
    const orders = ['a', 'b', 'c', 'd', 'e'].map((reference) => ({ ...app, reference }));
    const results = await Promise.allSettled(orders.map((order) => puller.pull(order, forEver)));
    expect(results.map(({ status }) => status)).toEqual([...Array<string>(4).fill('fulfilled'), 'rejected']);
  });
});

describe('what a launch pulls', () => {
  it.each([
    ['ubuntu:24.04', true],
    [`ubuntu@sha256:${'0'.repeat(64)}`, true],
    [`sha256:${'0'.repeat(64)}`, false],
    ['user:alice/app', false],
    ['/srv/app.sqsh', false],
  ])('%s: %s', (reference, pulls) => {
    expect(makePuller('').pulls(reference)).toBe(pulls);
  });

  it('is nothing where the site says so', () => {
    expect(makePuller('', '[store]\npull_at_launch = false\n').pulls('ubuntu')).toBe(false);
  });
});
