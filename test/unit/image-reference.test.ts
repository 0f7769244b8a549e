import { describe, expect, it } from 'vitest';
import { parseImportName, parseReference } from '../../src/image/index.js';

const HEX = '0123456789abcdef'.repeat(4);

describe('an image is named', () => {
  it.each([
    ['debian', 'debian:latest'],
    ['debian:12', 'debian:12'],
    ['hpc/lammps_2024:v1.0-RC1', 'hpc/lammps_2024:v1.0-RC1'],
    ['a.b-c__d/e--f', 'a.b-c__d/e--f:latest'],
    ['docker.io/library/debian:12', 'docker.io/library/debian:12'],
    ['localhost:5000/app', 'localhost:5000/app:latest'],
    ['Registry.Example.org/app:1', 'Registry.Example.org/app:1'],
  ])('%s, in full %s', (text, name) => {
    expect(parseReference(text)).toEqual({ kind: 'name', text: name });
  });

  it('by its digest, in capitals too', () => {
    expect(parseReference(`SHA256:${HEX.toUpperCase()}`)).toEqual({ kind: 'digest', text: `sha256:${HEX}` });
  });
});

describe('no image is named', () => {
  it.each([
    ['', 'it is empty'],
    ['none', '--image=none asks for no container at all'],
    ['/images/debian.sqfs', 'it looks like a path; berth import NAME SOURCE gives a file or directory a name'],
    ['./debian', 'it looks like a path; berth import NAME SOURCE gives a file or directory a name'],
    ['../debian', 'it looks like a path; berth import NAME SOURCE gives a file or directory a name'],
    ['a/../b', '.. is not lower-case letters and digits, joined by ".", "_", "__" or "-"'],
    ['a//b', 'there is nothing between two "/", or at an end'],
    ['a/', 'there is nothing between two "/", or at an end'],
    ['Debian', 'Debian has capital letters'],
    ['registry.org/Debian', 'Debian has capital letters'],
    ['a b', 'a b is not lower-case letters and digits, joined by ".", "_", "__" or "-"'],
    ['a+b', 'a+b is not lower-case letters and digits, joined by ".", "_", "__" or "-"'],
    ['-a', '-a is not lower-case letters and digits, joined by ".", "_", "__" or "-"'],
    ['a\0b', 'a\\x00b is not lower-case letters and digits, joined by ".", "_", "__" or "-"'],
    ['a:', 'the tag is empty: letters, digits, "_", "." and "-", at most 128'],
    ['a:.b', '.b is not a tag: letters, digits, "_", "." and "-", at most 128'],
    ['a:b:c', 'b:c is not a tag: letters, digits, "_", "." and "-", at most 128'],
    ['a:../b', 'a:.. is not lower-case letters and digits, joined by ".", "_", "__" or "-"'],
    [`a@sha256:${HEX}`, 'NAME@DIGEST is not supported: give the name or the digest'],
    ['sha256:123', 'a digest is sha256: and 64 hexadecimal digits'],
    ['a'.repeat(240), 'it has 247 characters, more than 240'],
  ])('%j', (text, why) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'BERTH_IMAGE_NAME', why }) as Error);
  });

  it("by a digest of the importer's choice", () => {
    expect(parseImportName('debian')).toBe('debian:latest');
    expect(() => parseImportName(`sha256:${HEX}`)).toThrow(
      expect.objectContaining({ code: 'BERTH_IMAGE_NAME' }) as Error,
    );
  });
});
