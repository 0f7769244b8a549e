import { describe, expect, it } from 'vitest';
import { parseImportName, parseReference, registryOf, registryReference, storeKey } from '../../src/image/reference.js';

const HEX = '0123456789abcdef'.repeat(4);
const DIGEST = `sha256:${HEX}`;

function parseName(text: string) {
  const reference = parseReference(text);
  if (reference.kind !== 'name') throw new Error(`${text} is a ${reference.kind}`);
  return reference;
}

describe('an image is named', () => {
  it.each([
    ['debian', 'debian:latest'],
    ['debian:12', 'debian:12'],
    ['hpc/lammps_2024:v1.0-RC1', 'hpc/lammps_2024:v1.0-RC1'],
    ['a.b-c__d/e--f', 'a.b-c__d/e--f:latest'],
    ['localhost:5000/app', 'localhost:5000/app:latest'],
    ['Registry.Example.org/app:1', 'Registry.Example.org/app:1'],
  ])('%s, in full %s', (text, name) => {
    expect(parseReference(text)).toEqual({ kind: 'name', text: name });
  });

  it.each([
    ['docker.io/library/debian:12', 'debian:12'],
    ['docker.io/debian:12', 'debian:12'],
    ['index.docker.io/library/debian', 'debian:latest'],
    ['library/debian:12', 'debian:12'],
    ['docker.io/hpc/lammps', 'hpc/lammps:latest'],
    ['library/a/b:1', 'library/a/b:1'],
    ['example.org/library/debian:12', 'example.org/library/debian:12'],
  ])('%s as Docker Hub’s users know it: %s', (text, name) => {
    expect(parseReference(text)).toEqual({ kind: 'name', text: name });
  });

  it.each([
    ['docker://debian:12', 'debian:12'],
    ['docker://docker.io/library/debian:12', 'debian:12'],
    ['docker://localhost:5000/a/b:1', 'localhost:5000/a/b:1'],
    ['docker:debian:12', 'debian:12'],
    ['docker:hpc/lammps', 'hpc/lammps:latest'],
    ['docker:localhost:5000/a/b:1', 'localhost:5000/a/b:1'],
    ['docker:24', 'docker:24'],
    ['docker:5000/app:1', 'docker:5000/app:1'],
    ['nvcr.io#nvidia/pytorch:24.01-py3', 'nvcr.io/nvidia/pytorch:24.01-py3'],
    ['docker://localhost:5000#app', 'localhost:5000/app:latest'],
    ['docker.io#library/debian:12', 'debian:12'],
  ])('%s as other tools have it: %s', (text, name) => {
    expect(parseReference(text)).toEqual({ kind: 'name', text: name });
  });

  it.each([
    ['alice@registry.org#app:1', 'registry.org/app:1', 'alice'],
    ['docker://$oauthtoken@nvcr.io#nvidia/pytorch', 'nvcr.io/nvidia/pytorch:latest', '$oauthtoken'],
    ['alice@site.org@registry.org#app:1', 'registry.org/app:1', 'alice@site.org'],
    ['docker://alice@debian:12', 'debian:12', 'alice'],
  ])('%s with the account at the registry', (text, name, account) => {
    expect(parseReference(text)).toEqual({ kind: 'name', text: name, account });
  });

  it.each([
    [`debian@${DIGEST}`, 'debian'],
    [`debian:12@${DIGEST.toUpperCase().replace('SHA', 'sha')}`, 'debian:12'],
    [`docker://docker.io/library/debian:12@${DIGEST}`, 'debian:12'],
    [`docker:debian:12@${DIGEST}`, 'debian:12'],
    [`docker:24@${DIGEST}`, 'docker:24'],
    [`localhost:5000/a/b@${DIGEST}`, 'localhost:5000/a/b'],
  ])('%s with its digest, and then without an invented tag', (text, name) => {
    expect(parseReference(text)).toEqual({ kind: 'name', text: name, digest: DIGEST });
  });

  it("among another user's names", () => {
    expect(parseReference('user:alice/lammps:2')).toEqual({ kind: 'name', text: 'lammps:2', owner: 'alice' });
    expect(parseReference(`user:a.b/x/y@${DIGEST}`)).toEqual({
      kind: 'name',
      text: 'x/y',
      digest: DIGEST,
      owner: 'a.b',
    });
    expect(parseReference('user:5000/app')).toEqual({ kind: 'name', text: 'user:5000/app:latest' });
  });

  it('by its digest, in capitals too, and as Shifter writes it', () => {
    for (const text of [DIGEST, `SHA256:${HEX.toUpperCase()}`, `id:${HEX}`]) {
      expect(parseReference(text)).toEqual({ kind: 'digest', text: DIGEST });
    }
    expect(parseReference('id:7')).toEqual({ kind: 'name', text: 'id:7' });
  });

  it.each(['/images/debian.sqsh', './debian.sqsh', '../debian', '/with blank and\ttab:@#'])(
    'by its path %s',
    (text) => {
      expect(parseReference(text)).toEqual({ kind: 'path', text });
    },
  );
});

describe('no image is named', () => {
  it.each([
    ['', 'it is empty'],
    ['none', '--image=none asks for no container at all'],
    ['~/debian', 'it looks like a path, and the shell replaces "~" only at the start of a word: write "$HOME"'],
    ['/a\0b', 'a path cannot hold a NUL'],
    [`/${'a'.repeat(4095)}`, 'it has 4096 characters, more than 4095'],
    ['.hidden', '.hidden is not lower-case letters and digits, joined by ".", "_", "__" or "-"'],
    ['a/../b', '.. is not lower-case letters and digits, joined by ".", "_", "__" or "-"'],
    ['a//b', 'there is nothing between two "/", or at an end'],
    ['a/', 'there is nothing between two "/", or at an end'],
    ['docker://', 'there is nothing between two "/", or at an end'],
    ['docker:///a', 'there is nothing between two "/", or at an end'],
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
    ['sha256:123', 'a digest is sha256: and 64 hexadecimal digits'],
    ['a@sha256:123', 'a digest is sha256: and 64 hexadecimal digits'],
    [`a@sha512:${HEX}${HEX}`, 'a digest is sha256: and 64 hexadecimal digits'],
    ['a@', 'a digest is sha256: and 64 hexadecimal digits'],
    [`a@${DIGEST}@${DIGEST}`, 'a digest is sha256: and 64 hexadecimal digits'],
    [`docker.io/${DIGEST}`, 'as a name it could not be told from a digest'],
    [`docker.io/library/${DIGEST}`, 'as a name it could not be told from a digest'],
    ['@a', '"" is not the name of an account at a registry'],
    ['--authfile=a@reg.io#x:1', '--authfile=a is not the name of an account at a registry'],
    ['a/b@c', 'a/b is not the name of an account at a registry'],
    ['alice@nowhere#app', 'nowhere before the "#" is not a registry, such as nvcr.io or host:5000'],
    ['#app', '"" before the "#" is not a registry, such as nvcr.io or host:5000'],
    ['user:/app', '"" is not the name of a user'],
    ['user:a b/app', 'a b is not the name of a user'],
    ['oci-archive:app.tar', 'archives and other stores get a name first: berth import NAME SOURCE'],
    ['oci:/images/app', 'archives and other stores get a name first: berth import NAME SOURCE'],
    [
      'oras://registry.org/app',
      'berth does not know oras://: images of registries are called docker://NAME, or just NAME',
    ],
    ['a'.repeat(240), 'it has 247 characters, more than 240'],
    ['a'.repeat(1_000_000), 'it has 1000000 characters, more than 240'],
  ])('%j', (text, why) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'BERTH_IMAGE_NAME', why }) as Error);
  });

  it.each([DIGEST, `a@${DIGEST}`, './rootfs', 'user:alice/app', 'alice@registry.org#app'])(
    'by an importer with %s',
    (text) => {
      expect(() => parseImportName(text)).toThrow(expect.objectContaining({ code: 'BERTH_IMAGE_NAME' }) as Error);
    },
  );

  it('by an importer otherwise than by anyone', () => {
    expect(parseImportName('docker.io/library/debian')).toBe('debian:latest');
  });
});

describe('in the store, an image is looked for', () => {
  it('under its digest before its name', () => {
    expect(storeKey(parseReference('debian'))).toBe('debian:latest');
    expect(storeKey(parseReference(`debian:12@${DIGEST}`))).toBe(DIGEST);
    expect(storeKey(parseReference(DIGEST))).toBe(DIGEST);
    expect(storeKey(parseReference('user:alice/lammps'))).toBe('user:alice/lammps:latest');
    expect(() => storeKey(parseReference('./debian'))).toThrow(
      expect.objectContaining({ code: 'BERTH_IMAGE_NAME' }) as Error,
    );
  });
});

describe('at a registry', () => {
  it.each([
    ['debian', 'docker.io', 'docker://docker.io/library/debian:latest'],
    ['hpc/lammps:1', 'docker.io', 'docker://docker.io/hpc/lammps:1'],
    ['library/a/b:1', 'docker.io', 'docker://docker.io/library/a/b:1'],
    ['localhost/app', 'localhost', 'docker://localhost/app:latest'],
    ['localhost:5000/a/b:1', 'localhost:5000', 'docker://localhost:5000/a/b:1'],
    ['alice@nvcr.io#nvidia/pytorch:1', 'nvcr.io', 'docker://nvcr.io/nvidia/pytorch:1'],
    [`debian:12@${DIGEST}`, 'docker.io', `docker://docker.io/library/debian@${DIGEST}`],
    [`localhost:5000/a@${DIGEST}`, 'localhost:5000', `docker://localhost:5000/a@${DIGEST}`],
  ])('%s is in %s as %s', (text, registry, reference) => {
    expect(registryOf(parseName(text))).toBe(registry);
    expect(registryReference(parseName(text))).toBe(reference);
  });
});
