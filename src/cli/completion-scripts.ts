import type { Command, Option } from "commander";

export const SHELLS = ["bash", "zsh", "fish", "pwsh"] as const;
export type Shell = (typeof SHELLS)[number];

export function isShell(text: string): text is Shell {
  return (SHELLS as readonly string[]).includes(text);
}

/** What can follow one command path. */
interface Place {
  /** Words from the program's name on: `keys rotate`; empty for the program itself. */
  readonly path: string;
  /** Subcommands, or the closed list of values of an argument. Where there are none, files are completed. */
  readonly words: readonly Word[];
  readonly options: readonly Word[];
  /** Values of the options that have a closed list of them. */
  readonly choices: readonly { readonly option: string; readonly values: readonly string[] }[];
  /** Options whose value is a file or free text. */
  readonly valued: readonly string[];
}

interface Word {
  readonly word: string;
  readonly about: string;
}

/** A completion script made from the command tree. */
export function completionScript(shell: Shell, program: Command): string {
  return WRITERS[shell](placesOf(program, [], []));
}

function placesOf(command: Command, path: readonly string[], inherited: readonly Option[]): Place[] {
  const options = [...command.options, ...inherited];
  const children = command.commands;
  const shells = command.name() === "completion" ? SHELLS.map((word) => ({ word, about: "shell" })) : [];
  const longOf = (option: Option): string => option.long ?? option.flags;
  const place: Place = {
    path: path.join(" "),
    words: [...children.map((child) => ({ word: child.name(), about: child.description() })), ...shells],
    options: [
      ...options.map((option) => ({ word: longOf(option), about: option.description })),
      { word: "--help", about: "show help" },
    ],
    choices: options.flatMap((option) =>
      option.argChoices === undefined ? [] : [{ option: longOf(option), values: option.argChoices }],
    ),
    valued: options.filter((option) => option.required && option.argChoices === undefined).map(longOf),
  };
  const global = path.length === 0 ? command.options.filter((option) => option.long !== "--version") : inherited;
  return [place, ...children.flatMap((child) => placesOf(child, [...path, child.name()], global))];
}

const WRITERS: Readonly<Record<Shell, (places: readonly Place[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
  pwsh: pwshScript,
};

function knownPaths(places: readonly Place[]): string[] {
  return places.filter((place) => place.path !== "").map((place) => `'${place.path}'`);
}

/** Shell lines that set `place` to the command path among the words before the cursor. Bash and zsh read them alike. */
function placeLines(places: readonly Place[], words: string): string {
  return `  for word in ${words}; do
    case "\${place:+$place }$word" in
      ${knownPaths(places).join("|")}) place="\${place:+$place }$word" ;;
    esac
  done`;
}

function choiceRows(places: readonly Place[], row: (values: readonly string[]) => string): string {
  return places
    .flatMap(({ path, choices }) =>
      choices.map(({ option, values }) => `    '${`${path} ${option}`.trim()}') ${row(values)} ;;`),
    )
    .join("\n");
}

function placeRows(
  places: readonly Place[],
  row: (words: readonly Word[], options: readonly Word[]) => string,
): string {
  return places.map(({ path, words, options }) => `    '${path}') ${row(words, options)} ;;`).join("\n");
}

function valuedPattern(places: readonly Place[]): string {
  return [...new Set(places.flatMap((place) => place.valued))].sort().join("|");
}

function bashScript(places: readonly Place[]): string {
  const list = (words: readonly Word[]): string => `'${words.map(({ word }) => word).join(" ")}'`;
  return `# tallystick completion for bash: source <(tallystick completion bash)
_tallystick() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} place= words= options= word
${placeLines(places, `"\${COMP_WORDS[@]:1:COMP_CWORD-1}"`)}
  case "$place $previous" in
${choiceRows(places, (values) => `COMPREPLY=($(compgen -W '${values.join(" ")}' -- "$current")); return`)}
  esac
  case "$place" in
${placeRows(places, (words, options) => `words=${list(words)} options=${list(options)}`)}
  esac
  case "$previous" in
    ${valuedPattern(places)}) words= ;;
    *) [[ $current != -* ]] || words=$options ;;
  esac
  COMPREPLY=()
  if [ -n "$words" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  else
    compopt -o default 2>/dev/null
  fi
}
complete -F _tallystick tallystick
`;
}

function zshScript(places: readonly Place[]): string {
  const list = (words: readonly Word[]): string =>
    `(${words.map(({ word, about }) => quoteShell(`${word}:${about.replaceAll(":", " -")}`)).join(" ")})`;
  return `#compdef tallystick
# tallystick completion for zsh: source <(tallystick completion zsh)
_tallystick() {
  local current=\${words[CURRENT]} previous=\${words[CURRENT-1]} place= word
  local -a names options
${placeLines(places, `"\${(@)words[2,CURRENT-1]}"`)}
  case "$place $previous" in
${choiceRows(places, (values) => `compadd -- ${values.join(" ")}; return`)}
  esac
  case "$place" in
${placeRows(places, (words, options) => `names=${list(words)} options=${list(options)}`)}
  esac
  case "$previous" in
    ${valuedPattern(places)}) _files; return ;;
  esac
  if [[ $current == -* ]]; then
    _describe option options
  elif (( \${#names} )); then
    _describe command names
  else
    _files
  fi
}
compdef _tallystick tallystick
`;
}

function fishScript(places: readonly Place[]): string {
  const lines = [
    "# tallystick completion for fish: tallystick completion fish | source",
    "function __tallystick_at",
    "    set -l place",
    "    for word in (commandline -opc)[2..-1]",
    "        switch (string join -- ' ' $place $word)",
    `            case ${knownPaths(places).join(" ")}`,
    "                set -a place $word",
    "        end",
    "    end",
    `    test "$place" = "$argv[1]"`,
    "end",
  ];
  for (const { path, words, options, choices, valued } of places) {
    const when = `complete -c tallystick -n '__tallystick_at "${path}"'`;
    for (const { word, about } of words) lines.push(`${when} -f -a ${word} -d ${quoteFish(about)}`);
    for (const { word, about } of options) {
      const values = choices.find(({ option }) => option === word)?.values;
      const value = values !== undefined ? ` -x -a '${values.join(" ")}'` : valued.includes(word) ? " -r" : "";
      lines.push(`${when} -l ${word.slice(2)}${value} -d ${quoteFish(about)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function pwshScript(places: readonly Place[]): string {
  const table = places
    .map(
      ({ path, words, options }) =>
        `    '${path}' = @(${[...words, ...options].map(({ word }) => `'${word}'`).join(", ")})`,
    )
    .join("\n");
  const choices = places
    .flatMap(({ path, choices: rows }) =>
      rows.map(
        ({ option, values }) =>
          `    '${`${path} ${option}`.trim()}' = @(${values.map((value) => `'${value}'`).join(", ")})`,
      ),
    )
    .join("\n");
  return `# tallystick completion for PowerShell: tallystick completion pwsh | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName tallystick -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $places = @{
${table}
  }
  $choices = @{
${choices}
  }
  $path = ''
  $previous = ''
  foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {
    if ($element.Extent.EndOffset -ge $cursorPosition) { break }
    $previous = $element.Extent.Text
    $next = ("$path $previous").Trim()
    if ($places.ContainsKey($next)) { $path = $next }
  }
  $words = $choices[("$path $previous").Trim()]
  if ($null -eq $words) { $words = $places[$path] }
  $words | Where-Object { $_ -like "$wordToComplete*" } | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
  }
}
`;
}

function quoteShell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function quoteFish(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
