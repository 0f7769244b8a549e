import type { Family } from './check.js';
import { patterns } from './kernel-log.js';
import { checks } from './table.js';

const TITLES: Readonly<Record<Family, string>> = {
  installation: 'The installation',
  kernel: 'The kernel',
  store: 'The image store',
  containers: 'Containers',
  modules: 'Modules and devices',
  files: 'File systems',
  slurm: 'What Slurm relies on',
  hardware: 'Hardware and kernel messages',
  site: "The site's own",
};

const INTRODUCTION = `# Health checks

\`berth health\` asks berthd whether this node can launch containers, and whether it is fit for jobs at all. Nothing is checked
unless somebody asks. Results are \`pass\`, \`warn\`, \`fail\` and \`unknown\`; the exit status is 0 when all passed, 2 when one
failed, and otherwise 1. A check that fails is one cause: checks that would fail because of it are \`unknown\`, "not tried".

- \`--all\` shows what passed, too. \`--json\` is for programs; \`version\` in it is raised when a field changes its meaning or goes.
- \`--nagios\` writes a line as Nagios' plugins do, and ends with 3 for unknown. \`--prometheus\` writes metrics for node_exporter's
  textfile collector.
- \`--max-age SECONDS\` takes earlier results up to that age (10 s by default, 30 s when Slurm asks). Plain users get results up to a minute
  old. Earlier results count once, however often Slurm asks within that time.

Each check may take 5 s, all together 20 s. Whatever may hang (file systems, devices, programs) is asked by a process of its own,
which is killed when it takes longer than 3 s. One that the kernel does not let die is reported and not asked again before it
has gone. [Administrators' guide](administrators.md#health-checks) has how to set Slurm's HealthCheckProgram.

## Draining

With \`[health] drain = true\`, Slurm's HealthCheckProgram has berthd drain the node and resume it. Only what Berth has drained is
its to resume, and the node's reason in Slurm says so: \`berth: CHECK, CHECK: what was found\`. It is resumed after \`resume_after\` runs
in a row in which each of these checks

- passed or warned, or
- was not there: a check of the site's that was removed, or one of Berth's in \`[health] skip\`. What does not exist cannot fail, and
  cannot pass either. berthd's log names it: \`no longer checked: CHECK\`.

When somebody else has resumed the node, whoever had drained it, failures are counted anew: it is drained after \`drain_after\` more.
A check that is there and could not find out (\`unknown\`) keeps the node drained, and so does any other that fails. The directory of the
site's checks that cannot be read, or is [missing where it was configured](#the-sites-own), is \`unknown\` for all of them. A
reason that begins with \`berth: \` and names what never was a check is somebody else's. What Berth has done to the node is an
[event](events.md#the-stream), also what \`berth-healthcheck\` did itself, as berthd did not answer: the next berthd tells of it when it
starts. With \`drain = false\` nothing is resumed either: \`scontrol update NodeName=n1 State=UNDRAIN\`.

Slurm has no "if the reason is still this one". Berth asks for the node's state and reason, and tells Slurm what it decided at once. A
reason that somebody sets in these few milliseconds (longer where a busy controller keeps scontrol waiting) is lost: if Berth was
draining the node, its reason takes the place of the other, and the node is later resumed; if it was resuming the node, the node
comes back. scontrol and sinfo cannot show it afterwards, and Berth cannot notice; slurmctld's log has both changes. A look at
\`sinfo -R\` after draining a node by hand is enough: a reason that is there stays.

This page is written from the table in \`src/health/checks/\` by \`npx vitest run test/unit/health.test.ts -u\`.
`;

const SITE = `## The site's own

Each file in \`/etc/berth/health.d\` ([health] site_checks) is a check with the id \`site-NAME\`,
or \`site-NAME-2\` where two are named alike. File and directory must belong to root
and be writable by root alone, as must all directories on the way there (also to where a symbolic link of root's leads; one with the
sticky bit may be everybody's), or the file is not used, and says so: the check is \`unknown\`, as it is for a rule with a mistake.
The directory of the default configuration may be missing. Another one that is missing, or that cannot be read, is the finding \`site\`
(\`unknown\`): it may be on a file system that is not mounted yet, or whose server does not answer, and a node that is drained for one of its checks stays drained. So
that this is noticed, name a directory below the mount point, and not the mount point itself, which is empty and there until then.
\`site_checks = ""\` says that there are none.

- An executable: exit status 0 is pass, 1 warn, 2 fail, anything else unknown. The first line of its output is shown. It gets no
  arguments, only \`PATH\`, \`LC_ALL=C\` and \`SLURM_CONF\` as environment, and 4.5 s.
- \`NAME.toml\`, a rule about the content of a file:

<!-- example: file=/etc/berth/health.d/overcommit.toml -->
\`\`\`toml
file = "/proc/sys/vm/overcommit_memory"   # a path, or a pattern as for the shell; all files that match have to fit
matches = "^[01]$"                        # regular expression, for 0.25 s at most; also: matches_not
# at_least = 1                            # of a number at the beginning of the file; also: at_most
severity = "warn"                         # or "fail", the default
matters = "2 makes large jobs fail when they fork"
hint = "sysctl vm.overcommit_memory=0"
\`\`\`

<!-- example: host=n1 -->
\`\`\`console
# berth health --all | grep site-
… site-overcommit: …
\`\`\`
`;

/** docs/health.md: every check of the table. */
export function healthPage(): string {
  const lines = [INTRODUCTION];
  let family: Family | undefined;
  for (const check of checks) {
    if (check.family !== family) lines.push(`## ${TITLES[check.family]}\n`);
    family = check.family;
    lines.push(
      `### ${check.id}\n`,
      `- Reads: ${check.reads}`,
      `- Rule: ${check.rule}`,
      `- Why: ${check.matters}`,
      `- What to do: ${check.hint}`,
      ...(check.needs ? [`- Not tried when one of these fails: ${check.needs.join(', ')}`] : []),
      '',
    );
    if (check.id === 'kernel-log') lines.push(patternTable());
  }
  return [...lines, SITE].join('\n');
}

function patternTable(): string {
  const rows = patterns.map(
    ({ severity, what, pattern }) => `| ${what} | ${severity} | \`${pattern.source.replaceAll('|', '\\|')}\` |`,
  );
  return ['| What | Result | Pattern |', '|---|---|---|', ...rows, ''].join('\n');
}
