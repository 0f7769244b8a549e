// Links from page to page: the file is there, and has the heading.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const pages = ['.', 'docs', 'docs/adr'].flatMap((directory) =>
  readdirSync(join(root, directory))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(directory, name)),
);

/** Without what stands between fences. */
const text = (path: string): string => readFileSync(join(root, path), 'utf8').replace(/^```.*?^```/gms, '');

/** As GitHub and GitLab make them: small letters, blanks as dashes, and no other marks. */
function anchorsOf(path: string): string[] {
  return [...text(path).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

it.each(pages)('the links of %s lead somewhere', (page) => {
  const links = [...text(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
  const broken = links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [file = '', anchor] = link.split('#');
    const path = file === '' ? join(root, page) : join(root, dirname(page), file);
    if (!existsSync(path)) return true;
    return anchor !== undefined && !anchorsOf(relative(root, path)).includes(anchor);
  });
  expect(broken).toEqual([]);
});
