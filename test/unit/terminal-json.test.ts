// JSON that reaches a terminal: what other users called their images is in it.
import { expect, it } from 'vitest';
import { jsonText, plainJson } from '../../src/cli/terminal.js';

const HOSTILE = 'a\u001b[2J b\u009b2J c\u007f d\u202e e\u2066 f\u200f\r\n\t"\\ ä 日本 😀';

it('JSON says the same and steers no terminal', () => {
  for (const indent of [0, 2]) {
    const text = jsonText({ source: HOSTILE, [HOSTILE]: [1] }, indent);
    expect(JSON.parse(text)).toEqual({ source: HOSTILE, [HOSTILE]: [1] });
    expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Bidi_C}]/u);
    expect(text).toContain('ä 日本 😀');
  }
});

it('JSON that somebody else has written stays what it says, also where it has several lines', () => {
  const text = JSON.stringify({ source: HOSTILE }, undefined, '\t');
  expect(JSON.parse(plainJson(text))).toEqual({ source: HOSTILE });
  expect(plainJson(text).split('\n')).toHaveLength(3);
});
