/**
 * The module specifiers of a TypeScript source, found by pattern: the sources are formatted by Biome, so a static
 * import or re-export always starts a line. TypeScript 7 has no programmatic API to ask instead.
 *
 * `kind` is `value`, `type` (erased at compile time) or `dynamic`; `specifier` is null for a dynamic import whose
 * argument is not a literal.
 */
export function importsOf(source) {
  const code = blankComments(source);
  const found = [];
  for (const match of code.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^"';=(]*?\bfrom\s+)?"([^"\n]+)"/gm)) {
    found.push({
      specifier: match[2],
      kind: match[1] === undefined ? "value" : "type",
      line: lineOf(code, match.index),
    });
  }
  // Not `.import(`, and not the declaration of a method of that name: its parameters have types.
  for (const match of code.matchAll(
    /(\btypeof\s+)?(?<![.\w])import\((?!\)|\w+\??:)\s*(?:"([^"\n]+)"\s*[,)](\.[A-Z])?)?/g,
  )) {
    const kind = match[1] !== undefined || match[3] !== undefined ? "type" : "dynamic";
    found.push({ specifier: match[2] ?? null, kind, line: lineOf(code, match.index) });
  }
  return found;
}

/** Whole-line comments only: those that hold examples of imports. Line numbers stay. */
function blankComments(source) {
  return source.replace(/^[ \t]*\/\*[\s\S]*?\*\/|^[ \t]*\/\/.*$/gm, (comment) => comment.replace(/[^\n]/g, " "));
}

function lineOf(code, index) {
  return code.slice(0, index).split("\n").length;
}
