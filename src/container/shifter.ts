import type { Config } from '../config/index.js';
import { shifterExecutable } from '../native/index.js';
import type { PlannedChange, PlannedMount } from '../options/index.js';
import { v1 } from '../protocol/index.js';

/** Where a container has Shifter's command, for job scripts that were written for it (native/shifter). */
const DIRECTORY = '/.berth/bin';

/** What programs find their commands by where nobody says; Debian's. */
const USUAL_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The command is bound: copying it in would take ten times as long. */
export function shifterMounts({ container }: Config): PlannedMount[] {
  const destination = `${DIRECTORY}/shifter`;
  const message = { source: shifterExecutable, destination, readOnly: true, optional: true };
  return container.shifter ? [{ origin: 'berth', message }] : [];
}

/** It is found after everything that image, job, site and modules have. */
export function shifterChanges({ container }: Config): PlannedChange[] {
  const { KIND_SET_IF_UNSET, KIND_APPEND } = v1.EnvironmentChange.Kind;
  const change = (kind: v1.EnvironmentChange.Kind, value: string): PlannedChange => ({
    origin: 'berth',
    message: { kind, name: 'PATH', value, separator: ':' },
  });
  // Appended to nothing, it would be the whole of it.
  return container.shifter ? [change(KIND_SET_IF_UNSET, USUAL_PATH), change(KIND_APPEND, DIRECTORY)] : [];
}
