// The node page in a real browser: what it shows, live, and what it never does.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { v1 } from '../../src/protocol/index.js';
import { makeImage } from '../registry/image.js';
import { Browser, type Tab, type View } from './helpers/browser.js';
import { TestClient, TestDaemon } from './helpers/daemon.js';
import { runHealth } from './helpers/health.js';
import { makeArchive, toolbox } from './helpers/images.js';
import { writeLayout } from './helpers/layouts.js';
import { PullClient } from './helpers/pull-client.js';
import { projectRoot } from './helpers/programs.js';
import { freePort } from './helpers/web.js';

const TOKEN = '0123456789abcdef'.repeat(4);
const NOBODY = 65_534;

let scratch: string;
let first: TestDaemon;
let second: TestDaemon;
let browser: Browser;
let here: string;
let there: string;
let job = 0;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'berth-page-'));
  writeFileSync(join(scratch, 'token'), `${TOKEN}\n`, { mode: 0o600 });
  const [one, two] = [await freePort(), await freePort()];
  here = `http://127.0.0.1:${one}`;
  there = `http://127.0.0.1:${two}`;
  const listen = (port: number): string =>
    `[events]\nlisten = "127.0.0.1:${port}"\ntoken_file = "${join(scratch, 'token')}"\n`;
  const common =
    'pull_at_launch = false\n[container]\nhome = false\n[health]\nskip = ["clock", "subordinate-ids"]\nmounts = ["/nowhere"]\ndrain = true\ndrain_after = 1\n';
  first = new TestDaemon(`${common}${listen(one)}nodes = ["${there}"]\n`);
  second = new TestDaemon(`${common}${listen(two)}origins = ["${here}"]\n`);
  // A controller that does as it is told, and an idle node: Slurm itself drains in test/slurm/health.test.ts.
  writeFileSync(join(scratch, 'scontrol'), '#!/bin/sh\necho NodeName=n1 State=IDLE\n', { mode: 0o755 });
  await Promise.all([first.start(undefined, { PATH: `${scratch}:${process.env['PATH'] ?? ''}` }), second.start()]);
  const archive = makeArchive(scratch, { toolbox: toolbox() });
  const cli = join(projectRoot, 'build', 'lib', 'cli.js');
  execFileSync(process.execPath, [cli, 'import', 'app', archive, '--socket', first.socket], { stdio: 'pipe' });
  browser = Browser.start();
});

afterAll(async () => {
  await browser.close();
  await first.remove();
  await second.remove();
  rmSync(scratch, { recursive: true });
});

/** Launches into a new container, with ranks; the job's end is the caller's. */
async function launch(daemon: TestDaemon, image = 'app', steps = 1): Promise<number> {
  const client = await TestClient.open(daemon.socket);
  job++;
  for (let stepId = 0; stepId < steps; stepId++) {
    await client.ask({
      launch: { purpose: v1.Purpose.PURPOSE_STEP, jobId: job, stepId, uid: NOBODY, gid: NOBODY, image, nodeName: 'n1' },
    });
    for (let rank = 0; rank < 4; rank++) client.send({ rankJoined: { rank, waitUs: 100, joinUs: 60 } });
  }
  client.socket.destroy();
  return job;
}

async function end(daemon: TestDaemon, jobId: number): Promise<void> {
  const client = await TestClient.open(daemon.socket);
  await client.ask({ jobEnd: { jobId } });
  client.socket.destroy();
}

/** The page, with a token entered by keyboard. */
async function open(view: View = {}, token = TOKEN, path = '/?nodes=none'): Promise<Tab> {
  const tab = await browser.open(here + path, view);
  await tab.see('sessionStorage.clear()');
  await tab.go(here + path);
  await enter(tab, token);
  await tab.until('document.querySelector(".connection[data-state=live]")');
  return tab;
}

async function enter(tab: Tab, token: string): Promise<void> {
  await tab.until('document.querySelector("form.token input")');
  await tab.see('document.querySelector("form.token input").focus()');
  await tab.type(token);
  await tab.press('Enter');
}

/** Kept beside the build, to be looked at. */
function keep(name: string, picture: Buffer): void {
  const directory = join(projectRoot, 'build', 'test', 'page');
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${name}.png`), picture);
}

/**
 * In the page: what has less contrast than WCAG 2.2 asks for (AA, 4.5 to 1). The colours are all opaque.
 */
const CONTRASTS = `
  const channel = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = numbers(colour).map((value) => channel(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  [...document.querySelectorAll('body *')]
    .filter((element) => [...element.childNodes].some((child) => child.nodeType === 3 && child.data.trim() !== '') && element.checkVisibility())
    .flatMap((element) => {
      const [a, b] = [luminance(getComputedStyle(element).color), luminance(ground(element))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return contrast < 4.5 ? [element.className + ' ' + element.textContent.slice(0, 30) + ' ' + contrast.toFixed(2)] : [];
    })`;

describe('the node page', () => {
  it('asks for a token, says when it is wrong, and keeps it in no address', async () => {
    const tab = await browser.open(`${here}/?nodes=none`);
    await enter(tab, 'x'.repeat(64));
    await tab.until('document.querySelector("form.token [role=alert]")');
    expect(await tab.text()).toContain('does not take this token');
    await enter(tab, TOKEN);
    await tab.until('document.querySelector(".connection[data-state=live]")');
    expect(await tab.see('Object.values(localStorage).join() + document.cookie')).not.toContain(TOKEN);
    for (const address of tab.requests) expect(address).not.toContain(TOKEN);
    await tab.see('document.querySelector("#forget").click()');
    await tab.until('document.querySelector("form.token input")');
    expect(await tab.see('JSON.stringify(sessionStorage)')).toBe('{}');
  });

  it('asks nobody but the node for anything, and breaks no rule of its policy', async () => {
    const tab = await open();
    await tab.until('document.querySelector(".findings li")');
    for (const address of tab.requests) expect(new URL(address).host).toBe(new URL(here).host);
    expect(tab.complaints).toEqual([]);
  });

  it('shows launches as they happen, their phases, and containers with their ranks', async () => {
    const tab = await open();
    const own = await launch(first, 'app', 2);
    await tab.until(`document.body.innerText.includes("job ${own}")`);
    const labels = await tab.see<string[]>(
      '[...document.querySelectorAll(".launches .bar")].map((bar) => bar.getAttribute("aria-label"))',
    );
    expect(labels.join('\n')).toMatch(/image mount [\d.]+ ms/);
    const table = '[...document.querySelectorAll("table")].find((one) => one.caption.textContent === "Containers")';
    await tab.until(table);
    expect(await tab.see<string>(`${table}.innerText`)).toMatch(new RegExp(`${own}\\s+nobody`));
    await end(first, own);
    await tab.until(`!(${table})`);
    await launch(first, 'absent');
    await tab.until('document.querySelector(".launches .error strong")?.textContent === "BERTH_IMAGE_UNKNOWN"');
    const failure = await tab.see<string>('document.querySelector(".launches .error").closest("li").textContent');
    expect(failure).toMatch(/step 0, nobody.*absent.*BERTH_IMAGE_UNKNOWN.*absent/s);
    await tab.until('document.querySelector("#announcements").textContent.includes("BERTH_IMAGE_UNKNOWN")');
  });

  it('shows pulls that have failed, whose they were, what failed and why', async () => {
    const tab = await open();
    // What happened before a page has read all there was is no news to it.
    const seen = await launch(first);
    await tab.until(`document.body.innerText.includes("job ${seen}")`);
    const layout = join(scratch, 'layout');
    mkdirSync(layout);
    const image = makeImage({ layers: [{ content: { 'etc/a': '' } }] });
    const puller = await PullClient.open(first.socket, writeLayout(layout, [image]));
    puller.request({ manifest: image.manifest.digest, name: 'torn:1', uid: NOBODY });
    await puller.event();
    puller.close();
    await tab.until('document.querySelector(".of-pulls .failed-pulls")');
    expect(await tab.see<string>('document.querySelector(".failed-pulls").textContent')).toMatch(
      /^failed torn:1.* · nobodyBERTH_PULL_FAILED pulling torn:1 failed: the client went away$/,
    );
    await tab.until('document.querySelector("#announcements").textContent.includes("pull of torn:1 failed")');
    await end(first, seen);
  });

  it('shows what is wrong with the node, with what to do', async () => {
    const tab = await open();
    await tab.until('document.querySelector(".findings li")');
    const health = await tab.see<string>('document.querySelector(".findings").innerText');
    expect(health).toContain('mounts');
    expect(health).toContain('/nowhere');
    expect(health).toContain('What to do:');
    expect(await tab.see('document.querySelector(".node > header .badge").textContent')).toBe('fails');
  });

  it('shows that Berth has drained the node, and why', async () => {
    const tab = await open();
    // What happened before a page has read all there was is no news to it.
    const seen = await launch(first);
    await tab.until(`document.body.innerText.includes("job ${seen}")`);
    await runHealth(first.socket, '--slurm', '--max-age', '0');
    await tab.until('document.querySelector(".drain")');
    expect(await tab.see('document.querySelector(".of-health .drain").textContent')).toMatch(
      /^In Slurm, Berth has drained \S+: berth: mounts: .*\/nowhere.* \(\d+:\d+:\d+\)$/,
    );
    expect(await tab.see('document.querySelector("#announcements").textContent')).toContain('drained in Slurm');
    await end(first, seen);
  });

  it('shows names as text, whatever they are', async () => {
    const tab = await open();
    await launch(first, '<img src=x onerror=alert(1)>"&');
    await tab.until('document.body.innerText.includes("onerror=alert")');
    expect(await tab.see('document.querySelectorAll("main img").length')).toBe(0);
    expect(tab.complaints).toEqual([]);
  });

  it("shows a user with a token of their own what is theirs, and others' as a number", async () => {
    const cli = join(projectRoot, 'build', 'lib', 'cli.js');
    const argv = ['--reuid=1', '--regid=1', '--clear-groups', process.execPath, cli, 'token', '--socket', first.socket];
    const token = execFileSync('setpriv', argv, { encoding: 'utf8' }).trim();
    const own = await launch(first);
    const tab = await open({}, token);
    await tab.until('document.body.innerText.includes("others have 1")');
    expect(await tab.text()).not.toContain('nobody');
    await end(first, own);
  });

  it('goes on when berthd was restarted', async () => {
    const tab = await open();
    await first.end('SIGKILL');
    await tab.until('document.querySelector(".connection[data-state=lost]")');
    await first.start();
    await tab.until('document.querySelector(".connection[data-state=live]")');
    const own = await launch(first);
    await tab.until(`document.body.innerText.includes("job ${own}")`);
    await end(first, own);
  });

  it('asks for a token anew when the node no longer takes the one it has', async () => {
    const tab = await open();
    const renewed = 'fedcba9876543210'.repeat(4);
    const restartWith = async (token: string): Promise<void> => {
      await first.end('SIGTERM');
      writeFileSync(join(scratch, 'token'), `${token}\n`);
      await first.start();
    };
    await restartWith(renewed);
    await tab.until('document.querySelector("form.token [role=alert]")');
    expect(await tab.text()).toContain('does not take this token any longer');
    await enter(tab, renewed);
    await tab.until('document.querySelector(".connection[data-state=live]")');
    expect(await tab.see('document.querySelectorAll(".connection").length')).toBe(1);
    await restartWith(TOKEN);
  });

  it('shows several nodes, each with its token, or one for all', async () => {
    const tab = await browser.open(`${here}/`);
    await tab.until('document.querySelector("form.token")');
    await tab.see('document.querySelector("form.token [type=checkbox]").click()');
    await enter(tab, TOKEN);
    await tab.until('document.querySelectorAll(".connection[data-state=live]").length === 2');
    await tab.until('document.querySelectorAll("#overview .badge.fail").length === 2');
    const own = await launch(second);
    await tab.until(`document.querySelector("#node-2").innerText.includes("job ${own}")`);
    expect(await tab.see('document.querySelector("#node-1").innerText')).not.toContain(`job ${own}`);
    keep('nodes', await tab.picture());
    await end(second, own);
    expect(tab.complaints).toEqual([]);
  });

  it('can be used by keyboard, and tells a screen reader what is where', async () => {
    const tab = await open();
    // Anew, with the token that the window has: the keyboard begins at the top.
    await tab.go(`${here}/?nodes=none`);
    await tab.until('document.querySelector(".findings li")');
    const stops: string[] = [];
    for (let i = 0; i < 5; i++) {
      await tab.press('Tab');
      stops.push(
        await tab.see<string>('document.activeElement.textContent.trim().slice(0, 20) || document.activeElement.id'),
      );
      expect(await tab.see('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid');
    }
    expect(stops[0]).toBe('Skip to the nodes');
    expect(stops.join()).toContain('Forget tokens');
    expect(stops.join()).toContain('Check now');
    const tree = await tab.accessibility();
    const named = (role: string): string[] => tree.filter((node) => node.role === role).map(({ name }) => name);
    expect(named('main')).toHaveLength(1);
    expect(named('banner')).toHaveLength(1);
    expect(named('status')).toHaveLength(1);
    expect(named('region')).toEqual(
      expect.arrayContaining(['Recent launches', 'Containers', 'Health', 'Pulls', 'Images']),
    );
    for (const button of [...named('button'), ...named('combobox')]) expect(button).not.toBe('');
  });

  it.each<[string, View]>([
    ['light', {}],
    ['dark', { dark: true }],
    ['phone', { width: 390, height: 844, mobile: true }],
    ['phone-dark', { width: 390, height: 844, mobile: true, dark: true }],
  ])('fits its window and can be read: %s', async (name, view) => {
    const running = await launch(first, 'app', 3);
    await launch(first, 'absent');
    const tab = await open(view);
    await tab.until(
      'document.querySelector(".findings li") && document.querySelector(".launches li") && document.querySelectorAll("table").length > 1',
    );
    expect(await tab.see('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    const weak = await tab.see<string[]>(`(() => { ${CONTRASTS.replace('\n  [...', '\n  return [...')} })()`);
    expect(weak).toEqual([]);
    keep(name, await tab.picture());
    await end(first, running);
  });

  it('can be light where everything else is dark, and remembers that', async () => {
    const tab = await open({ dark: true });
    const ground = (): Promise<string> => tab.see<string>('getComputedStyle(document.body).backgroundColor');
    const dark = await ground();
    await tab.see('theme.value = "light"; theme.dispatchEvent(new Event("change"))');
    const light = await ground();
    expect(light).not.toBe(dark);
    await tab.go(`${here}/?nodes=none`);
    expect(await ground()).toBe(light);
    await tab.see('localStorage.clear()');
  });
});
