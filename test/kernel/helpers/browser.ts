// A real Chromium without a window, driven through its DevTools protocol over a pipe.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

interface Reply {
  readonly id?: number;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly sessionId?: string;
}

/** What a page is seen with. */
export interface View {
  readonly width?: number;
  readonly height?: number;
  readonly dark?: boolean;
  readonly mobile?: boolean;
}

/** One Chromium. The tests run as root, whom its sandbox does not take; what it shows is ours. */
export class Browser {
  readonly #waiting = new Map<
    number,
    { resolve: (result: Record<string, unknown>) => void; reject: (error: Error) => void }
  >();
  readonly #listeners = new Set<(reply: Reply) => void>();
  readonly #input: Writable;
  #last = 0;

  private constructor(
    private readonly child: ChildProcess,
    private readonly profile: string,
  ) {
    this.#input = child.stdio[3] as Writable;
    let pending = '';
    (child.stdio[4] as Readable).setEncoding('utf8').on('data', (text: string) => {
      const messages = (pending + text).split('\0');
      pending = messages.pop() ?? '';
      for (const message of messages) this.#take(JSON.parse(message) as Reply);
    });
  }

  static start(): Browser {
    const profile = mkdtempSync(join(tmpdir(), 'berth-chromium-'));
    const args = [
      ...[
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--hide-scrollbars',
        '--no-first-run',
        '--disable-dev-shm-usage',
      ],
      ...['--disable-background-networking', '--disable-component-update', '--ignore-certificate-errors'],
      ...['--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank'],
    ];
    const env = { PATH: '/usr/bin:/bin', HOME: profile };
    return new Browser(
      spawn('chromium', args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], env }),
      profile,
    );
  }

  async open(url: string, view: View = {}): Promise<Tab> {
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    const tab = new Tab(this, sessionId as string);
    await tab.begin(view);
    await tab.go(url);
    return tab;
  }

  call(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = ++this.#last;
    this.#input.write(`${JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) })}\0`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  listen(listener: (reply: Reply) => void): void {
    this.#listeners.add(listener);
  }

  async close(): Promise<void> {
    const ended = once(this.child, 'exit');
    await this.call('Browser.close').catch(() => undefined);
    await ended;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #take(reply: Reply): void {
    const { id, result = {}, error } = reply;
    if (id === undefined) for (const listener of this.#listeners) listener(reply);
    else if (error) this.#waiting.get(id)?.reject(new Error(error.message));
    else this.#waiting.get(id)?.resolve(result);
  }
}

/** One page of it. */
export class Tab {
  /** What it complained of: errors of scripts, and what a policy kept it from. */
  readonly complaints: string[] = [];
  /** Every address that it asked for. */
  readonly requests: string[] = [];

  constructor(
    private readonly browser: Browser,
    private readonly session: string,
  ) {
    browser.listen(({ method, params = {}, sessionId }) => {
      if (sessionId !== session) return;
      if (method === 'Network.requestWillBeSent') this.requests.push((params['request'] as { url: string }).url);
      if (method === 'Network.webSocketCreated') this.requests.push(params['url'] as string);
      if (method === 'Runtime.exceptionThrown') this.complaints.push(JSON.stringify(params['exceptionDetails']));
      if (method === 'Log.entryAdded') this.complaints.push((params['entry'] as { text: string }).text);
    });
  }

  async begin({ width = 1280, height = 900, dark = false, mobile = false }: View): Promise<void> {
    for (const domain of ['Page', 'Runtime', 'Network', 'Log', 'Accessibility']) await this.#call(`${domain}.enable`);
    await this.#call('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: mobile ? 2 : 1,
      mobile,
    });
    await this.dark(dark);
  }

  async dark(dark: boolean): Promise<void> {
    const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }];
    await this.#call('Emulation.setEmulatedMedia', { features });
  }

  async go(url: string): Promise<void> {
    await this.#call('Page.navigate', { url });
    await this.until('document.readyState === "complete"');
  }

  /** The value of an expression. */
  async see<T>(expression: string): Promise<T> {
    const answer = await this.#call('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    const { result, exceptionDetails } = answer as { result: { value: T }; exceptionDetails?: { text: string } };
    if (exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
    return result.value;
  }

  /** Waits until an expression holds. */
  async until(expression: string, milliseconds = 10_000): Promise<void> {
    const end = performance.now() + milliseconds;
    while (!(await this.see<boolean>(`Boolean(${expression})`).catch(() => false))) {
      if (performance.now() > end)
        throw new Error(`it did not come to: ${expression}\n${await this.text()}\n${this.complaints.join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  text(): Promise<string> {
    return this.see<string>('document.body.innerText');
  }

  /** Presses a key: "Tab", "Enter", " ", or a letter. */
  async press(key: string): Promise<void> {
    const codes: Readonly<Record<string, number>> = { Tab: 9, Enter: 13, ' ': 32 };
    const named = {
      key,
      windowsVirtualKeyCode: codes[key] ?? key.charCodeAt(0),
      ...(key === 'Tab' ? {} : { text: key === 'Enter' ? '\r' : key }),
    };
    await this.#call('Input.dispatchKeyEvent', { type: 'keyDown', ...named });
    await this.#call('Input.dispatchKeyEvent', { type: 'keyUp', ...named });
  }

  async type(text: string): Promise<void> {
    await this.#call('Input.insertText', { text });
  }

  /** What a screen reader is told: role and name of each element that has either. */
  async accessibility(): Promise<{ readonly role: string; readonly name: string }[]> {
    const { nodes } = await this.#call('Accessibility.getFullAXTree');
    const list = nodes as { ignored: boolean; role?: { value: string }; name?: { value: string } }[];
    return list
      .filter(({ ignored }) => !ignored)
      .map(({ role, name }) => ({ role: role?.value ?? '', name: name?.value ?? '' }));
  }

  /** A picture of the whole page, PNG. */
  async picture(): Promise<Buffer> {
    const { data } = await this.#call('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
    return Buffer.from(data as string, 'base64');
  }

  #call(method: string, params: object = {}): Promise<Record<string, unknown>> {
    return this.browser.call(method, params, this.session);
  }
}
