import { safeText, UNSAFE } from "../core/safe-text.ts";

/**
 * Text for terminals. What stands in a ledger or a file was chosen by strangers: a control character could move the cursor or
 * rewrite what is on the screen, and a bidirectional or invisible one could make two different texts look alike.
 */

export { safeText };

/** `safeText` of each line. */
export function safeLines(text: string): string {
  return text.split("\n").map(safeText).join("\n");
}

/** JSON text of the same value in which nothing is left that a terminal would act upon. */
export function safeJson(json: string): string {
  return json.replace(UNSAFE, (character) =>
    character === "\n"
      ? "\n"
      : Array.from({ length: character.length }, (_, i) => unitEscape(character.charCodeAt(i))).join(""),
  );
}

function unitEscape(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, "0")}`;
}

export type Style = Readonly<Record<"bold" | "dim" | "red" | "green" | "yellow" | "cyan", (text: string) => string>>;

const SGR = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], cyan: [36, 39] } as const;

/** Colours of a stream, or the text as it is. */
export function styleOf(isColored: boolean): Style {
  const paint = (name: keyof typeof SGR) => {
    const [on, off] = SGR[name];
    return (text: string): string => (isColored && text !== "" ? `\x1b[${on}m${text}\x1b[${off}m` : text);
  };
  return {
    bold: paint("bold"),
    dim: paint("dim"),
    red: paint("red"),
    green: paint("green"),
    yellow: paint("yellow"),
    cyan: paint("cyan"),
  };
}

/** Whether to colour a stream: https://no-color.org, and FORCE_COLOR above it, as Node.js itself reads them. */
export function wantsColor(
  stream: { readonly isTTY?: boolean | undefined },
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  const { FORCE_COLOR: forced, NO_COLOR: refused } = env;
  if (forced !== undefined) return forced !== "0" && forced !== "false";
  if (refused !== undefined && refused !== "") return false;
  return stream.isTTY === true && env.TERM !== "dumb";
}

/** Lines of at most `width` characters, broken at spaces; a longer word stands alone. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** `1,204` */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** `1 entry`, `1,204 entries` */
export function counted(value: number, one: string, many: string = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** `3.4 MB` */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let scaled = value;
  let unit = 0;
  for (; scaled >= 1_000 && unit < units.length - 1; unit++) scaled /= 1_000;
  return `${unit === 0 ? scaled : scaled.toFixed(1)} ${units[unit]}`;
}

/** Post-quantum keys take 1,800 characters: their name, id and beginning tell them apart. */
const VKEY_UNITS_MAX = 400;

export function shortVkey(vkey: string): string {
  return vkey.length <= VKEY_UNITS_MAX
    ? vkey
    : `${vkey.slice(0, vkey.lastIndexOf("+") + 32)}… (${vkey.length} characters)`;
}
