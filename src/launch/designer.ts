import type { Config } from '../config/index.js';
import {
  entrypointFiles,
  imageWords,
  NOTHING_WANTED,
  ownerOf,
  specify,
  type Identity,
  type Specification,
} from '../container/index.js';
import type { ImageRecord } from '../image/index.js';
import type { Modules } from '../modules/index.js';
import type { AskedFor } from '../options/index.js';

/** Who wants a container, and what is to be known for it. */
export interface Design extends Identity, AskedFor {
  /** 0 where there is no job. */
  readonly jobId: number;
  readonly nodeName: string;
  /** SlurmdSpoolDir; empty where only the configuration may know it. */
  readonly spoolDir: string;
}

/** Says what containers consist of: out of options, the configuration and the site's modules. */
export class Designer {
  constructor(
    private readonly config: Config,
    private readonly modules: Modules,
    private readonly workspace: string,
  ) {}

  /**
   * @param pid a process of the job: its cgroups say which devices the job may use; undefined as long as there is
   *   none in these
   * @param finding the image: without it there is nothing to design
   * @throws BerthError BERTH_IDENTITY; what options and modules that make no sense stand for; what finding it failed with;
   * AskedTooEarly.
   */
  async design(design: Design, pid: number | undefined, finding: Promise<ImageRecord>): Promise<Specification> {
    const { options, jobId, nodeName } = design;
    // Mounting the image begins with what finding says, and takes longer than what is done here: it goes first.
    const [owner, record] = await Promise.all([ownerOf(design), finding]);
    const { name, home } = owner.account;
    const request = { chosen: options.modules, host: nodeName, pid, user: name, uid: owner.uid, home, jobId };
    const modules = await this.modules.contribute(request);
    const hasEntrypoint = options.entrypoint ?? this.config.container.entrypoint;
    const files = hasEntrypoint ? entrypointFiles(imageWords(record.config).entrypoint) : [];
    const spoolDir = design.spoolDir || this.config.slurm.spoolDir;
    return specify(owner, this.config, spoolDir, this.workspace, { options, modules, files });
  }

  /**
   * Looks for what every node would refuse, before a job waits in a queue for it. The modules of this host may be others
   * than the nodes'.
   *
   * @throws BerthError as {@link design}
   */
  async check(identity: Identity, { options }: AskedFor): Promise<void> {
    const owner = await ownerOf(identity);
    specify(owner, this.config, this.config.slurm.spoolDir, this.workspace, { ...NOTHING_WANTED, options });
  }
}
