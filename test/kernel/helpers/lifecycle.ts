import { afterEach, beforeEach } from 'vitest';
import { expectNothingLeft, residue, type Residue } from './residue.js';
import { makeScratch, removeScratch } from './scratch.js';

/** Each test of the file that calls this has to leave the machine as it was after the hooks that come before. */
export function leavesNothing(scratch: () => string): void {
  let before: Residue;
  beforeEach(() => {
    before = residue(scratch());
  });
  afterEach(async () => {
    await expectNothingLeft(scratch(), before);
  });
}

/** Each test has a directory of its own, which `begin` gets first, and leaves nothing but what is in it. */
export function inScratchOfItsOwn(begin: (scratch: string) => void): void {
  let directory: string;
  let before: Residue;
  beforeEach(() => {
    directory = makeScratch();
    begin(directory);
    before = residue(directory);
  });
  // In one hook: the directory goes whatever was left.
  afterEach(async () => {
    try {
      await expectNothingLeft(directory, before);
    } finally {
      removeScratch(directory);
    }
  });
}
