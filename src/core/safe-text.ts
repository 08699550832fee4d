/**
 * Text of strangers, shown to people. A control character could move a cursor or rewrite what is on a screen, and a bidirectional or invisible
 * one could make two different texts look alike.
 */

// C0, DEL, C1; soft hyphen; Arabic letter mark; zero-width space, direction marks, line and paragraph separators, direction
// embeddings, word joiner and invisible operators, direction isolates and deprecated format characters; byte order mark,
// interlinear annotation; lone surrogates; tags. The joiners U+200C and U+200D are part of ordinary words.
export const UNSAFE: RegExp =
  /[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Surrogate}|[\u{e0000}-\u{e007f}]/gu;

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** The text with every character that a terminal would act upon, or not show, written as an escape. One line. */
export function safeText(text: string): string {
  return text.replace(UNSAFE, (character) => SHORT[character] ?? `\\u{${character.codePointAt(0)?.toString(16)}}`);
}
