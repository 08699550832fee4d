/**
 * The runnable code of a Markdown page. A fence's first word is its language; the rest of the line says what happens:
 *
 *     ```ts                    a module of its own, type-checked and run
 *     ```ts continue           goes on where the fence before left off, in the same module
 *     ```ts no-run: reason     shown only
 *     ```js                    like ts, without types; with `cjs` as the language it is a CommonJS module
 *     ```sh                    run by bash; with lines that begin `$ ` it is a transcript, compared line by line
 *     ```text output           what the program just before must have printed
 *
 * In expected output `…` stands for any text of one line, and a line that is only `…` for any number of lines. A
 * command of a transcript must end with 0, or with N where it ends in the comment `# exit N`.
 */
const LANGUAGES = new Map([
  ["ts", "module"],
  ["js", "module"],
  ["cjs", "module"],
  ["sh", "shell"],
]);

/** Programs in the order of the page: `{ kind, language, line, code, expected? }`, and the fences that are not run. */
export function programsOf(markdown) {
  const programs = [];
  const unrun = [];
  for (const fence of fencesOf(markdown)) {
    const { language, note, line, code } = fence;
    const kind = LANGUAGES.get(language);
    const last = programs.at(-1);
    if (language === "text" && note === "output") {
      if (last?.kind !== "module") throw new Error(`line ${line}: there is no program before this output`);
      last.expected = code;
    } else if (kind === undefined) {
    } else if (note.startsWith("no-run")) {
      const reason = /^no-run: (\S.*)$/.exec(note)?.[1];
      if (reason === undefined) throw new Error(`line ${line}: no-run needs a reason, "no-run: reason"`);
      unrun.push({ language, line, reason });
    } else if (note === "continue" && last?.kind === "module" && last.language === language) {
      // Blank lines keep the line numbers of error messages those of the page.
      last.code += "\n".repeat(line - last.line - last.code.split("\n").length + 1) + code;
    } else if (note === "") {
      programs.push({ kind, language, line, code });
    } else {
      throw new Error(`line ${line}: "${note}" is no instruction for a ${language} fence`);
    }
  }
  return { programs, unrun };
}

/** Steps of a shell fence: `{ line, command, exit, expected }`, `expected` null where output is not compared. */
export function shellSteps({ code, line }) {
  const lines = code.split("\n");
  if (!lines.some((text) => text.startsWith("$ "))) return [{ line, command: code, exit: 0, expected: null }];
  const steps = [];
  for (const [offset, text] of lines.entries()) {
    const last = steps.at(-1);
    if (text.startsWith("$ ")) {
      const exit = Number(/#\s*exit (\d+)\s*$/.exec(text)?.[1] ?? 0);
      steps.push({ line: line + offset, command: text.slice(2), exit, output: [] });
    } else if (text.startsWith("> ") && last?.output.length === 0) {
      last.command += `\n${text.slice(2)}`;
    } else if (last === undefined) {
      throw new Error(`line ${line + offset}: a transcript begins with a "$ " line`);
    } else {
      last.output.push(text);
    }
  }
  return steps.map(({ output, ...step }) => {
    const expected = output.join("\n").trimEnd();
    return { ...step, expected: expected === "" ? null : expected };
  });
}

/** True when the output is what the page shows, `…` standing for what differs from run to run. */
export function matchesOutput(expected, found) {
  const pattern = expected
    .trimEnd()
    .split("\n")
    .map((line) => (line.trim() === "…" ? "(?:[^\\n]*\\n)*?" : `${escapeLine(line.trimEnd())}[ \\t]*\\n`))
    .join("");
  return new RegExp(`^${pattern}$`).test(`${found.replaceAll("\r\n", "\n").trimEnd()}\n`);
}

function escapeLine(line) {
  return line.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll("…", "[^\\n]*?");
}

function fencesOf(markdown) {
  const fences = [];
  let open = null;
  for (const [index, text] of markdown.split("\n").entries()) {
    const mark = /^( {0,3})(`{3,})\s*(\S*)\s*(.*?)\s*$/.exec(text);
    if (open === null) {
      if (mark !== null) open = { ticks: mark[2], language: mark[3], note: mark[4], line: index + 2, lines: [] };
    } else if (mark !== null && mark[3] === "" && mark[2].length >= open.ticks.length) {
      const { language, note, line, lines } = open;
      fences.push({ language, note, line, code: lines.join("\n") });
      open = null;
    } else {
      open.lines.push(text);
    }
  }
  if (open !== null) throw new Error(`line ${open.line - 1}: the fence is never closed`);
  return fences;
}
