import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import type { HashName } from "../core/hash.ts";
import type { Algorithm } from "../core/signature/table.ts";
import type { CommandModule, GlobalOptions } from "./context.ts";
import { styleOf } from "./terminal-text.ts";

/** Loads the module of a command: only the one that was asked for. */
export type Load = () => Promise<CommandModule>;

/** Runs a parsed command. */
export type Execute = (load: Load, parsed: Parsed) => Promise<void>;

export interface Parsed {
  /** Words of the command: `keys rotate`. */
  readonly name: string;
  readonly positionals: readonly string[];
  readonly options: GlobalOptions;
}

const ALGORITHMS: readonly string[] = Object.keys({
  "ed25519": true,
  "ecdsa-p256": true,
  "ecdsa-p384": true,
  "ecdsa-secp256k1": true,
  "rsa-pss": true,
  "ml-dsa-44": true,
  "ml-dsa-65": true,
  "ml-dsa-87": true,
} satisfies Record<Algorithm, true>);
const HASHES: readonly string[] = Object.keys({
  "sha256": true,
  "sha512": true,
  "sha3-256": true,
} satisfies Record<HashName, true>);
const SCHEMES = ["event", "fields"];

const DISCLOSE = "show this field only; may be given again (scheme fields)";
const PROVE_COMPLETE = "prove that the filter left nothing out; the others come along, nearly all withheld";
const LEDGER_ARGUMENT = "path or file: URL of the ledger; $TALLYSTICK_LEDGER when left out";

const EXIT_HELP = `
Exit status: 0 ok · 1 tampered or invalid · 2 usage · 3 inconclusive · 4 required evidence missing · 5 I/O or configuration · 130 interrupted`;

/** The command line as a tree: options, help and completion come from here; what a command does is in commands/. */
export function buildProgram(execute: Execute): Command {
  const program = new Command("tallystick")
    .description("A tamper-evident audit ledger.")
    .usage("COMMAND [options]")
    .option("--json", "print JSON: one object, or one a line; errors too")
    .option("--quiet", "print results, warnings and errors only")
    .option("--state <dir>", "state directory: keys, policies, what was seen (default: $TALLYSTICK_STATE_DIR)")
    .version(version(), "-V, --version", "print the version")
    .helpCommand("help [command]", "show help")
    .showSuggestionAfterError(true)
    .configureHelp({
      showGlobalOptions: true,
      sortSubcommands: false,
      subcommandTerm: (command) => `${command.name()} ${command.usage().replace(/ ?\[options\]/, "")}`.trim(),
      styleTitle: (text) => styleOf(true).bold(text),
    })
    .addHelpText("after", EXIT_HELP);

  const add = (parent: Command, name: string, usage: string, summary: string, load: Load): Command => {
    const command = parent
      .command(name)
      .description(summary)
      .usage(usage === "" ? "[options]" : `${usage} [options]`)
      .action(() =>
        execute(load, {
          name: parent === program ? name : `${parent.name()} ${name}`,
          positionals: command.args,
          options: command.optsWithGlobals(),
        }),
      );
    return command;
  };

  program.commandsGroup("Write:");
  keyOptions(
    add(program, "init", "[LEDGER]", "make a ledger, with its key and policy", () => import("./commands/init.ts"))
      .argument("[ledger]", LEDGER_ARGUMENT)
      .option("--origin <name>", "name of the ledger in every checkpoint; never reuse one")
      .addOption(new Option("--commitment-hash <hash>", "hash of the commitments, fixed for ever").choices(HASHES))
      .addOption(
        new Option("--scheme <scheme>", "what can be disclosed or erased: whole events, or single fields").choices(
          SCHEMES,
        ),
      )
      .option("--require-signature", "accept only events that their author signed")
      .option("--generate-key", "generate a key also where NODE_ENV=production"),
  );
  signerOptions(
    keyOptions(
      add(
        program,
        "append",
        "[LEDGER] ACTION",
        "append an event, or a stream of them (--jsonl)",
        () => import("./commands/append.ts"),
      )
        .argument("[ledger]", LEDGER_ARGUMENT)
        .argument("[action]", "what happened, such as user.login; without it, JSON lines are read from stdin")
        .option("--actor <id>", "who did it")
        .option("--target <id>", "what it was done to; may be given again", collect)
        .option("--outcome <outcome>", "how it ended: success, failure, …")
        .option("--payload <json>", "any JSON, or @FILE")
        .option("--id <id>", "unique id: appending it again adds nothing")
        .option("--type <name>", "name of the event's schema")
        .option("--occurred-at <time>", "when it happened, RFC 3339, as the producer says")
        .option("--context <json>", "object: ip, requestId, session, …; or @FILE")
        .option("--metadata <json>", "object, or @FILE")
        .addOption(new Option("--scheme <scheme>", "commitment scheme of this entry").choices(SCHEMES))
        .option("--jsonl <file>", "one event a line, of any length; - is stdin")
        .option("--no-create", "refuse to make a ledger that does not exist"),
    ),
  );
  keyOptions(
    add(
      program,
      "erase",
      "[LEDGER] INDEX",
      "erase an entry's body, or single fields; proofs stay valid",
      () => import("./commands/erase.ts"),
    )
      .argument("[ledger]", LEDGER_ARGUMENT)
      .argument("[index]", "leaf index of the entry")
      .option("--field <name>", "field to erase, such as payload.email; may be given again", collect)
      .requiredOption("--reason <text>", "why; stays in the ledger for ever, so no personal data")
      .option("--basis <text>", "legal basis")
      .option("--actor <id>", "who ordered it"),
  );
  const importing = program
    .command("import")
    .description("import a git history: one event for each commit")
    .usage("git [DIR] --into LEDGER");
  keyOptions(
    add(
      importing,
      "git",
      "[DIR]",
      "append one event for each commit; again later, only the new ones",
      () => import("./commands/import-git.ts"),
    )
      .argument("[dir]", "folder of the repository", ".")
      .option("--into <ledger>", "the ledger; $TALLYSTICK_LEDGER when left out"),
  );

  program.commandsGroup("Read:");
  filterOptions(
    add(
      program,
      "list",
      "[LEDGER]",
      "list entries, all or those that match",
      () => import("./commands/list.ts"),
    ).argument("[ledger]", LEDGER_ARGUMENT),
    { range: true },
  )
    .option("--desc", "newest first")
    .option("--limit <n>", "at most so many; says where to go on", wholeNumber("a count from 1", 1))
    .option("--cursor <cursor>", "go on where a limited listing ended");
  add(program, "show", "[LEDGER] INDEX", "show one entry whole", () => import("./commands/show.ts"))
    .argument("[ledger]", LEDGER_ARGUMENT)
    .argument("[index]", "leaf index of the entry")
    .option("--id <id>", "the entry whose event has this id, instead of INDEX");
  filterOptions(
    add(program, "follow", "[LEDGER]", "print entries as they arrive", () => import("./commands/follow.ts")).argument(
      "[ledger]",
      LEDGER_ARGUMENT,
    ),
    { range: false },
  ).option("--first <n>", "begin at this index (default: with what comes next)", LEAF_INDEX);
  add(program, "stats", "[LEDGER]", "counts, times, sizes, last verification", () => import("./commands/stats.ts"))
    .argument("[ledger]", LEDGER_ARGUMENT)
    .option("--top <n>", "actions and actors to print (default: 10)", wholeNumber("a count from 1", 1));
  add(
    program,
    "status",
    "[LEDGER]",
    "size, last checkpoint, witnesses, delays; exit 0 healthy, 3 overdue",
    () => import("./commands/status.ts"),
  ).argument("[ledger]", LEDGER_ARGUMENT);
  keyOptions(
    filterOptions(
      add(
        program,
        "export",
        "[LEDGER] --out FILE",
        "write entries to a file that proves itself",
        () => import("./commands/export.ts"),
      )
        .argument("[ledger]", LEDGER_ARGUMENT)
        .requiredOption("--out <file>", "file to write; - is stdout")
        .addOption(
          new Option("--format <format>", "jsonl can be verified; json and csv are views").choices([
            "jsonl",
            "json",
            "csv",
          ]),
        )
        .option("--disclose <field>", DISCLOSE, collect)
        .option("--prove-complete", PROVE_COMPLETE),
      { range: true },
    ),
  );

  program.commandsGroup("Prove and verify:");
  add(
    program,
    "verify",
    "[FILE|URL]",
    "verify a ledger, a receipt, an export, a checkpoint, an evidence package or a published ledger",
    () => import("./commands/verify.ts"),
  )
    .argument(
      "[file]",
      "what to verify, told apart by content; folder or URL of a published ledger; $TALLYSTICK_LEDGER when left out",
    )
    .option("--policy <file>", "the policy that you pin, got from the operator by another way")
    .option("--expect <file>", "a checkpoint that you got earlier: what is verified must be of its history")
    .option("--since <file>", "a checkpoint verified before: entries it covers are not read again")
    .option("--first <n>", "verify from this index on: a slice", LEAF_INDEX)
    .option("--last <n>", "verify up to this index: a slice", LEAF_INDEX)
    .option(
      "--allow-self-asserted",
      "take the keys from the ledger itself: shows that it is consistent, not whose it is",
    )
    .option(
      "--tsa-root <file>",
      "certificates of time-stamping authorities that you trust, in PEM; may be given again",
      collect,
    )
    .option(
      "--bitcoin <file|url>",
      "block headers that you trust: a file, a node or an explorer; of several, what they agree about",
      collect,
    )
    .option("--require-anchor", "exit 4 unless an anchor holds under what you trust")
    .option("--at <index>", "say between which outside times this entry was written", LEAF_INDEX)
    .option("--remember", "from now on require this history on this machine")
    .option("--report <file>", "write the answer as a page for people too: one HTML file that prints")
    .option("--findings-max <n>", "findings to list; the rest are counted", wholeNumber("a count from 1", 1));
  keyOptions(
    add(
      program,
      "checkpoint",
      "[LEDGER]",
      "sign a checkpoint over all entries and print it",
      () => import("./commands/checkpoint.ts"),
    )
      .argument("[ledger]", LEDGER_ARGUMENT)
      .addOption(untilOption())
      .option("--out <file>", "file to write; stdout when left out"),
  );
  keyOptions(
    add(
      program,
      "anchor",
      "[LEDGER] [--tsa URL]… [--calendar URL]…",
      "have a checkpoint over all entries time-stamped, and record the proofs",
      () => import("./commands/anchor.ts"),
    )
      .argument("[ledger]", LEDGER_ARGUMENT)
      .option("--tsa <url>", "RFC 3161 authority to ask; may be given again", collect)
      .option("--tsa-root <file>", "its root in PEM: an answer that does not hold under one is not kept", collect)
      .option("--calendar <url>", "OpenTimestamps calendar to ask, or `public`; may be given again", collect),
  );
  keyOptions(
    add(
      program,
      "anchors",
      "[LEDGER]",
      "list the recorded anchors, complete them, write them out",
      () => import("./commands/anchors.ts"),
    )
      .argument("[ledger]", LEDGER_ARGUMENT)
      .option("--upgrade", "ask calendars for the proofs that wait, and record what they give")
      .option("--calendar <url>", "calendar that --upgrade may ask too; may be given again", collect)
      .option("--export <dir>", "write note and proof of each: .note, .tsr or .tst, .ots"),
  );
  add(program, "policy", "[LEDGER]", "print the policy file that readers pin", () => import("./commands/policy.ts"))
    .argument("[ledger]", LEDGER_ARGUMENT)
    .option("--out <file>", "file to write; stdout when left out");
  keyOptions(
    add(
      program,
      "prove",
      "[LEDGER] INDEX --out FILE",
      "write a receipt that proves one entry offline",
      () => import("./commands/prove.ts"),
    )
      .argument("[ledger]", LEDGER_ARGUMENT)
      .argument("[index]", "leaf index of the entry")
      .requiredOption("--out <file>", "file to write; - is stdout")
      .addOption(untilOption())
      .option("--disclose <field>", DISCLOSE, collect)
      .option("--tlog-proof", "the bare inclusion proof, for other C2SP tools"),
  );
  keyOptions(
    add(
      program,
      "publish",
      "[LEDGER] --to DIR",
      "write what is new as tiles that anyone can serve, follow and verify",
      () => import("./commands/publish.ts"),
    )
      .argument("[ledger]", LEDGER_ARGUMENT)
      .requiredOption("--to <dir>", "folder of the published ledger; made when missing")
      .option("--bodies", "publish the events too, from now on: whoever reads the folder reads them")
      .addOption(untilOption()),
  );
  add(
    program,
    "mirror",
    "DIR|URL --into DIR",
    "follow a published ledger: verify what is new and keep a copy",
    () => import("./commands/mirror.ts"),
  )
    .argument("[source]", "folder or URL of a published ledger")
    .requiredOption("--into <dir>", "folder of the copy; made when missing, never overwritten")
    .option("--bodies", "copy the events too, from now on, where they are published")
    .option("--policy <file>", "the policy that you pin (default: what this machine keeps for the ledger)");
  keyOptions(
    filterOptions(
      add(
        program,
        "evidence",
        "[LEDGER] --out FILE.zip",
        "write a package with all that an auditor needs offline",
        () => import("./commands/evidence.ts"),
      )
        .argument("[ledger]", LEDGER_ARGUMENT)
        .requiredOption("--out <file>", "file to write, such as evidence.zip")
        .option("--disclose <field>", DISCLOSE, collect)
        .option("--prove-complete", PROVE_COMPLETE)
        .option("--since <file>", "a checkpoint that the auditor holds: proves that its history continues")
        .option("--headers <file>", "Bitcoin headers to put in, for an auditor who looks the blocks up"),
      { range: true },
    ),
  );
  add(
    program,
    "attack",
    "[LEDGER]",
    "tamper with copies, and show which evidence notices",
    () => import("./commands/attack.ts"),
  )
    .argument("[ledger]", "its events are used, and it is only read; made-up events when left out")
    .option("--entries <n>", "size of the attacked ledger (default: 300)", wholeNumber("a count from 1", 1));

  program.commandsGroup("Maintain:");
  addKeyCommands(program, add);
  addWitnessCommands(program, add);
  const state = program.command("state").description("back up, or move, what this machine knows").usage("COMMAND");
  add(
    state,
    "export",
    "FILE",
    "write policies, checkpoints and records to a file",
    () => import("./commands/state-export.ts"),
  )
    .argument("[file]", "file to write; - is stdout")
    .option("--keys", "include the private keys");
  add(
    state,
    "import",
    "FILE",
    "take over what is unknown here; nothing is overwritten",
    () => import("./commands/state-import.ts"),
  ).argument("[file]", "file of `state export`; - is stdin");
  keyOptions(
    add(
      program,
      "reindex",
      "[LEDGER]",
      "rebuild all derived data from the committed bytes",
      () => import("./commands/reindex.ts"),
    ).argument("[ledger]", LEDGER_ARGUMENT),
  );
  add(
    program,
    "recover",
    "[LEDGER] --reason TEXT [--key FILE]",
    "take up a ledger whose key or lock store is lost, or that was rolled back",
    () => import("./commands/recover.ts"),
  )
    .argument("[ledger]", LEDGER_ARGUMENT)
    .option("--key <file>", "the key that signs from now on (default: the one in force, where it is held here)")
    .option("--passphrase-env <name>", PASSPHRASE)
    .requiredOption("--reason <text>", "why; every later reader sees it")
    .option("--evidence <file>", "what the refused open wrote: its checkpoint goes on record")
    .option("--no-keep-key", "do not keep the key in the state directory");
  add(program, "forget", "PATH", "forget which ledger stood at a path", () => import("./commands/forget.ts")).argument(
    "[path]",
    "path of the ledger",
  );
  add(
    program,
    "completion",
    "SHELL",
    "print a completion script: bash, zsh, fish, pwsh",
    () => import("./commands/completion.ts"),
  ).argument("[shell]", "bash, zsh, fish or pwsh");
  refuseRepetition(program);
  return program;
}

/** Version of this package. */
export function version(): string {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { readonly version: string }).version;
}

type Add = (parent: Command, name: string, usage: string, summary: string, load: Load) => Command;

function addKeyCommands(program: Command, add: Add): void {
  const keys = program.command("keys").description("make, list, register, rotate and revoke keys").usage("COMMAND");
  add(keys, "new", "--out FILE", "make a private key in a file of its own", () => import("./commands/keys-new.ts"))
    .requiredOption("--out <file>", "file to write, readable by you alone")
    .addOption(
      new Option(
        "--algorithm <name>",
        "ed25519 (default) and ml-dsa-44 can be log keys; all can be author keys",
      ).choices(ALGORITHMS),
    )
    .option("--passphrase-env <name>", "encrypt with the passphrase in this variable");
  add(keys, "list", "[LEDGER]", "list log keys and author keys", () => import("./commands/keys-list.ts")).argument(
    "[ledger]",
    LEDGER_ARGUMENT,
  );
  keyOptions(
    add(keys, "add", "[LEDGER]", "register an author key, or a second log key", () => import("./commands/keys-add.ts"))
      .argument("[ledger]", LEDGER_ARGUMENT)
      .option("--author <file>", "author key to register; it signs its own registration")
      .option("--actor <id>", "the actor whose events it signs")
      .option("--author-passphrase-env <name>", "variable with the author key's passphrase")
      .option("--log <file>", "log key to add beside the present one, such as ml-dsa-44")
      .option("--log-passphrase-env <name>", "variable with the new log key's passphrase"),
  );
  add(keys, "rotate", "[LEDGER]", "replace the log key, signed by both", () => import("./commands/keys-rotate.ts"))
    .argument("[ledger]", LEDGER_ARGUMENT)
    .option("--key <file>", "the new key (default: one is made and kept in the state directory)")
    .option("--passphrase-env <name>", PASSPHRASE)
    .option("--old-key <file>", "the present key, where this machine does not keep it")
    .option("--old-passphrase-env <name>", "variable with the present key's passphrase");
  keyOptions(
    add(keys, "revoke", "[LEDGER]", "end an author key, or disown a log key", () => import("./commands/keys-revoke.ts"))
      .argument("[ledger]", LEDGER_ARGUMENT)
      .option("--author <key-id>", "id of the author key: its signatures on later entries do not count")
      .option("--log <vkey>", "the log key")
      .option("--valid-until-size <n>", "last tree size for which the log key counts", wholeNumber("a tree size", 0))
      .requiredOption("--reason <text>", "why; stays in the ledger for ever"),
  );
}

function addWitnessCommands(program: Command, add: Add): void {
  const witness = program.command("witness").description("be a witness, or have some").usage("COMMAND");
  add(
    witness,
    "serve",
    "--config FILE",
    "cosign the checkpoints of others",
    () => import("./commands/witness-serve.ts"),
  )
    .requiredOption("--config <file>", "name, key, database and logs, in JSON")
    .option("--listen <host:port>", "instead of what the file says; port 0: any free one")
    .option("--passphrase-env <name>", PASSPHRASE);
  add(
    witness,
    "add",
    "[LEDGER] --url URL --key VKEY",
    "have checkpoints cosigned by a witness",
    () => import("./commands/witness-add.ts"),
  )
    .argument("[ledger]", LEDGER_ARGUMENT)
    .requiredOption("--url <url>", "where it is reached")
    .requiredOption("--key <vkey>", "its key, from its operator")
    .option("--name <name>", "its name in the policy (default: that of the key)")
    .option("--operator <name>", "who runs it: the witnesses of one operator count once")
    .option(
      "--quorum <n>",
      "how many are enough, counted by operator (default: a majority)",
      wholeNumber("a count from 1", 1),
    );
  add(
    witness,
    "list",
    "[LEDGER]",
    "list the witnesses and what each cosigned",
    () => import("./commands/witness-list.ts"),
  )
    .argument("[ledger]", LEDGER_ARGUMENT)
    .option("--ask", "ask each what it saw last");
}

const PASSPHRASE = "variable with the key's passphrase (default: TALLYSTICK_KEY_PASSPHRASE)";

function untilOption(): Option {
  return new Option(
    "--until <level>",
    "how far it must have come: signed here, cosigned by a quorum, or anchored before",
  ).choices(["checkpointed", "witnessed", "anchored"]);
}

function keyOptions(command: Command): Command {
  return command
    .option("--key <file>", "log key: PEM, PKCS#8 or JWK (default: $TALLYSTICK_KEY, else the state directory's)")
    .option("--passphrase-env <name>", PASSPHRASE);
}

function signerOptions(command: Command): Command {
  return command
    .option("--signer-key <file>", "author key: the event is signed on behalf of its actor")
    .option("--signer-passphrase-env <name>", "variable with the author key's passphrase");
}

function filterOptions(command: Command, { range }: { readonly range: boolean }): Command {
  command
    .option("--actor <id>", "by this actor")
    .option("--action <action>", "this action, or a prefix: user.*")
    .option("--type <name>", "with this schema name")
    .option("--target <id>", "done to this target")
    .option("--outcome <outcome>", "that ended so");
  if (range) {
    command
      .option("--from <time>", "ledger time from: 2026-11-20, or a full time")
      .option("--to <time>", "ledger time before");
  }
  command
    .option("--correlation <id>", "with this value in the context: request, trace, session")
    .option("--text <text>", "with this text anywhere in the payload")
    .option("--where <path=json>", "with this value at a path, such as payload.amount=12; may be given again", collect);
  if (range)
    command
      .option("--first <n>", "from this index on", LEAF_INDEX)
      .option("--last <n>", "up to this index", LEAF_INDEX);
  return command;
}

function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}

/** Of an option that is given again, all but the last would be passed over in silence. */
function refuseRepetition(command: Command): void {
  for (const option of command.options) {
    const parse = option.parseArg;
    if (option.isBoolean() || parse === collect) continue;
    let isGiven = false;
    option.argParser((value, previous: unknown) => {
      if (isGiven) throw new InvalidArgumentError("It was given before.");
      isGiven = true;
      return parse === undefined ? value : parse(value, previous);
    });
  }
  for (const child of command.commands) refuseRepetition(child);
}

const LEAF_INDEX = wholeNumber("a leaf index", 0);

function wholeNumber(what: string, min: number): (text: string) => number {
  return (text) => {
    const value = /^(?:0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < min) throw new InvalidArgumentError(`Expected ${what}.`);
    return value;
  };
}
