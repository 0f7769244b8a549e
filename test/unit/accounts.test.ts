import { describe, expect, it } from 'vitest';
import { groupLines, passwdLine } from '../../src/container/accounts.js';

const account = {
  name: 'alice',
  gid: 1,
  home: '/home/alice',
  shell: '/bin/bash',
  gecos: 'Alice,,,',
  gids: [],
  groups: [],
};

describe("a user's line of passwd(5)", () => {
  it('has the ids of the job, whatever the name service says', () => {
    expect(passwdLine(2001, 2002, account)).toBe('alice:x:2001:2002:Alice,,,:/home/alice:/bin/bash\n');
  });

  it.each([
    ['gecos', 'x:0:0::/:/bin/sh\nroot2:x:0:0'],
    ['home', '/home/a:b\n'],
    ['shell', '/bin/sh\r\n'],
    ['name', 'ali:ce\0'],
  ])('stays one line of seven fields, whatever the directory service has for %s', (field, value) => {
    const line = passwdLine(2001, 2002, { ...account, [field]: value });
    expect(line.slice(0, -1)).not.toMatch(/[\n\r\0]/);
    expect(line.split(':')).toHaveLength(7);
    expect(line.split(':').slice(2, 4)).toEqual(['2001', '2002']);
    expect(line.endsWith('\n')).toBe(true);
  });
});

describe("a user's lines of group(5)", () => {
  it('have the name and number of each group', () => {
    expect(
      groupLines([
        { gid: 1, name: 'one' },
        { gid: 4_294_967_294, name: 'two' },
      ]),
    ).toBe('one:x:1:\ntwo:x:4294967294:\n');
  });

  it('are none without groups', () => {
    expect(groupLines([])).toBe('');
  });

  it('stay one line each, whatever the name', () => {
    expect(groupLines([{ gid: 5, name: 'a:x:0:root\nb' }])).toBe('ax0rootb:x:5:\n');
  });
});
