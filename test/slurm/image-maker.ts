/** Tiny images of one program, /bin/show, which says what image it is in: made in milliseconds, under any name. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { compileStatic } from '../images/programs.js';
import type { Site } from './site.js';
import { changePlugstack } from './plugstack.js';

const run = promisify(execFile);

/** What berthd's log has of a container. */
interface Built {
  readonly purpose: string;
  readonly image: string;
}

export class ImageMaker {
  private constructor(
    private readonly site: Site,
    private readonly program: string,
  ) {}

  static async make(site: Site): Promise<ImageMaker> {
    const program = join(site.cluster.dir, 'show');
    await compileStatic('show', program);
    return new ImageMaker(site, program);
  }

  /** Gives a name of the site's to an image that says `text`. Returns the image's digest. */
  import(name: string, text: string): Promise<string> {
    return this.importAs('root', name, text);
  }

  async importAs(user: string, name: string, text: string): Promise<string> {
    const { cluster } = this.site;
    const root = join(cluster.layout.home, `image-${text}`);
    await mkdir(join(root, 'bin'), { recursive: true });
    try {
      await run('cp', [this.program, join(root, 'bin/show')]);
      await writeFile(join(root, 'image'), `${text}\n`);
      const argv = ['berth', 'import', '--json', name, `/home/image-${text}`];
      const { status, stdout, stderr } = await cluster.exec('n1', argv, { user, timeout: 20_000 });
      if (status !== 0) throw new Error(stderr);
      const [digest = ''] = /sha256:[0-9a-f]{64}/.exec(stdout) ?? [];
      return digest;
    } finally {
      await rm(root, { recursive: true });
    }
  }

  /** The containers that were built for a job on some nodes, in the order of the nodes. */
  async builtFor(job: number, nodes: readonly string[]): Promise<Built[]> {
    const logs = await Promise.all(
      nodes.map((node) => readFile(this.site.cluster.layout.logFile(node, 'berthd'), 'utf8')),
    );
    return logs
      .flatMap((log) => log.split('\n').filter((line) => line.includes('"container built"')))
      .map((line) => JSON.parse(line) as Built & { readonly job: number })
      .filter((entry) => entry.job === job)
      .map(({ purpose, image }) => ({ purpose, image }));
  }

  /** Changes a word of plugstack.conf, until the function that is returned is called. */
  replaceInPlugstack(word: string, by: string): Promise<() => Promise<void>> {
    return changePlugstack(this.site.cluster, (text) => text.replaceAll(word, by));
  }
}
