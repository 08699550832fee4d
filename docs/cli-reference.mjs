#!/usr/bin/env node
/**
 * Writes docs/cli-reference.md from the command tree of the built command line; with --check says whether it is up to date.
 * `node scripts/build.mjs && node docs/cli-reference.mjs`
 */
import { readFileSync, writeFileSync } from "node:fs";
import { buildProgram } from "../dist/cli/program.js";

const PAGE = new URL("cli-reference.md", import.meta.url);

const HEAD = `# Command line reference

Every command and option, as \`tallystick COMMAND --help\` tells them. Made by \`docs/cli-reference.mjs\`: do not edit. Examples: [cli.md](cli.md).

\`LEDGER\` is a path or a \`file:\` URL. With one argument fewer it is \`$TALLYSTICK_LEDGER\`.

## All commands
`;

function table(options) {
  const rows = options
    .filter((option) => !option.hidden)
    .map(({ flags, description, argChoices }) => {
      const choices = argChoices === undefined ? "" : ` (${argChoices.map((choice) => `\`${choice}\``).join(", ")})`;
      return `| \`${cell(flags)}\` | ${cell(description)}${choices} |\n`;
    });
  return rows.length === 0 ? "" : `\n| option | |\n|---|---|\n${rows.join("")}`;
}

function cell(text) {
  return text.replaceAll("|", "\\|");
}

function commandsOf(command, path = []) {
  return command.commands
    .filter((child) => child.name() !== "help")
    .flatMap((child) => {
      const names = [...path, child.name()];
      return child.commands.length === 0 ? [{ names, command: child }] : commandsOf(child, names);
    });
}

function section({ names, command }) {
  const name = names.join(" ");
  const usage = command.usage().replace(/ ?\[options\]/, "");
  return `\n## ${name}\n\n\`${`tallystick ${name} ${usage}`.trim()}\`: ${command.description()}\n${table(command.options)}`;
}

const program = buildProgram(async () => {});
const expected = `${HEAD}${table(program.options)}${commandsOf(program).map(section).join("")}`;
if (!process.argv.includes("--check")) writeFileSync(PAGE, expected);
else if (readFileSync(PAGE, "utf8") !== expected) {
  process.stdout.write("docs/cli-reference.md is not what the commands say: run node docs/cli-reference.mjs\n");
  process.exitCode = 1;
}
