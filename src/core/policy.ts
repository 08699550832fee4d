import { assertOrigin, type Checkpoint, parseLedgerCheckpoint } from "./checkpoint.ts";
import { decodeBase64, decodeUtf8, encodeBase64, encodeHex, encodeUtf8, parseDecimal } from "./encoding.ts";
import { isTallystickError, MalformedError, VerificationError } from "./errors.ts";
import { POLICY_BYTES_MAX } from "./limits.ts";
import {
  type NoteSignatureType,
  parseNote,
  parseVerifierKey,
  type SignedNote,
  spkiOfVerifierKey,
  type VerifiedSignature,
  type VerifierKey,
  verifyNote,
} from "./note.ts";
import { type Algorithm, checkSpki, isAlgorithm, keyIdOf } from "./signature/table.ts";

/**
 * The file that a reader pins: C2SP tlog-policy for one log, with Tallystick's directives in `#tallystick` comment lines.
 * Spec: spec/policy.md.
 */
export interface Policy {
  /** Name of all log keys: the origin of the one ledger that this policy accepts. */
  readonly origin: string;
  /** Keys of the `log` lines, types 1 and 6. At least one. */
  readonly logKeys: readonly VerifierKey[];
  /** URL of each `log` line, null without one; parallel to `logKeys`. Never used to verify. */
  readonly logUrls: readonly (string | null)[];
  readonly witnesses: readonly PolicyWitness[];
  /** In the order of the file: members are defined before. */
  readonly groups: readonly PolicyGroup[];
  /** Witness or group whose cosigning is asked for, or `none`. */
  readonly quorum: string;
  /** Who runs which witnesses: they count once for their group. A witness of no operator here is one of its own. */
  readonly operators: readonly PolicyOperator[];
  /** Hex leaf hash of entry 0; null: not pinned. */
  readonly genesis: string | null;
  /** Log keys that are valid for some tree sizes only; the others are for all. */
  readonly keyRanges: readonly PolicyKeyRange[];
  /** Log keys each of which must have signed a checkpoint of a size for which it is valid. */
  readonly requireAll: readonly VerifierKey[];
  readonly authors: readonly PolicyAuthor[];
  /** Every event needs a valid author signature. */
  readonly requireSignature: boolean;
}

export interface PolicyWitness {
  /** Name inside the policy; the key has its own. */
  readonly name: string;
  /** Type 4 or 6. */
  readonly key: VerifierKey;
  readonly url: string | null;
}

export interface PolicyGroup {
  readonly name: string;
  /** Members that must have cosigned, 1..members.length. */
  readonly threshold: number;
  /** Names of witnesses and groups. */
  readonly members: readonly string[];
}

export interface PolicyOperator {
  readonly name: string;
  /** Names of witnesses, at least one; those that are members of a group are members of one group. */
  readonly witnesses: readonly string[];
}

export interface PolicyKeyRange {
  readonly key: VerifierKey;
  readonly minSize: number;
  /** Included; null: no upper bound. */
  readonly maxSize: number | null;
}

export interface PolicyAuthor {
  readonly algorithm: Algorithm;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** Hex SHA-256 of `spki`. */
  readonly keyId: string;
  /** Actor whose events this key signs. */
  readonly actor: string;
  readonly fromIndex: number;
  /** Included; null: no upper bound. */
  readonly untilIndex: number | null;
}

/** What `formatPolicy` needs; whatever is left out is absent. */
export type PolicyParts = Pick<Policy, "logKeys"> & Partial<Omit<Policy, "logKeys" | "origin">>;

export interface VerifiedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly note: SignedNote;
  /** Pinned log keys, valid for this size, that signed. */
  readonly logKeys: readonly VerifierKey[];
  /** Witnesses of the policy that cosigned, and their times in seconds since 1970. */
  readonly witnesses: readonly { readonly name: string; readonly time: number }[];
  /** Whether these witnesses reach the quorum of the policy. */
  readonly quorum: boolean;
  /** Smallest time at which those who had cosigned by then reach the quorum; null if not reached, or `none` is asked. */
  readonly witnessTime: number | null;
}

const DIRECTIVE = "#tallystick";
const NO_QUORUM = "none";
const LOG_TYPES: readonly NoteSignatureType[] = [1, 6];
const WITNESS_TYPES: readonly NoteSignatureType[] = [4, 6];
/** An actor id of an event is no longer. */
const ACTOR_BYTES_MAX = 1024;
// Octets 09, 0A, 20-7E and 80-FF; what is above 7F was decoded from the latter.
const FORBIDDEN = /[\0-\x08\x0b-\x1f\x7f]|\p{Surrogate}/u;
const GENESIS = /^[0-9a-f]{64}$/;

/**
 * Policy of a file. Every violation of the rules is `malformed-policy` (`details.line`, from 1): nothing is skipped, as
 * a line that one reader skips is a requirement that another one keeps.
 */
export function parsePolicy(file: Uint8Array | string): Policy {
  const bytes = typeof file === "string" ? encodeUtf8(file) : file;
  if (bytes.length > POLICY_BYTES_MAX)
    throw malformed(`policy: expected at most ${POLICY_BYTES_MAX} bytes, got ${bytes.length}`);
  const text = typeof file === "string" ? file : decodeUtf8(bytes, "malformed-policy");
  if (FORBIDDEN.test(text)) throw malformed("policy: expected no control characters but tab and newline");
  const lines = text.split("\n");
  if (lines.pop() !== "") throw malformed("policy: expected a newline at the end of the last line");
  const draft = new Draft();
  for (const [i, line] of lines.entries()) {
    const items = itemsOf(line);
    if (items.length === 0) continue;
    try {
      readLine(draft, line, items);
    } catch (cause) {
      if (!isTallystickError(cause)) throw cause;
      const details = { line: i + 1 };
      throw new MalformedError("malformed-policy", `policy line ${i + 1}: ${cause.message}`, { details, cause });
    }
  }
  return draft.finish();
}

/**
 * Text of a policy, one line each in a fixed order; `parsePolicy` of it gives the same parts. `malformed-policy` for
 * parts that make none.
 */
export function formatPolicy(parts: PolicyParts): string {
  const { logKeys, logUrls = [], witnesses = [], groups = [], quorum = NO_QUORUM } = parts;
  const lines: string[] = [];
  for (const [i, key] of logKeys.entries()) lines.push(joinItems("log", key.vkey, logUrls[i] ?? null));
  for (const { name, key, url } of witnesses) lines.push(joinItems("witness", name, key.vkey, url));
  for (const { name, threshold, members } of groups)
    lines.push(joinItems("group", name, String(threshold), ...members));
  lines.push(joinItems("quorum", quorum));
  for (const { name, witnesses } of parts.operators ?? [])
    lines.push(joinItems(DIRECTIVE, "operator", name, ...witnesses));
  if (parts.genesis !== undefined && parts.genesis !== null) lines.push(joinItems(DIRECTIVE, "genesis", parts.genesis));
  for (const { key, minSize, maxSize } of parts.keyRanges ?? []) {
    lines.push(joinItems(DIRECTIVE, "key", key.vkey, String(minSize), String(maxSize ?? "-")));
  }
  if (parts.requireAll !== undefined && parts.requireAll.length > 0) {
    lines.push(joinItems(DIRECTIVE, "require-all", ...parts.requireAll.map((key) => key.vkey)));
  }
  for (const { algorithm, spki, actor, fromIndex, untilIndex } of parts.authors ?? []) {
    const range = [String(fromIndex), String(untilIndex ?? "-")];
    // The actor may hold spaces: the quotes keep it together.
    lines.push([DIRECTIVE, "author", algorithm, encodeBase64(spki), JSON.stringify(actor), ...range].join(" "));
  }
  if (parts.requireSignature === true) lines.push(joinItems(DIRECTIVE, "require-signature"));
  const text = `${lines.join("\n")}\n`;
  parsePolicy(text);
  return text;
}

/** Log keys of the policy that are valid for a checkpoint of `size`. */
export function logKeysAt(policy: Policy, size: number): VerifierKey[] {
  return policy.logKeys.filter((key) => {
    const range = policy.keyRanges.find((candidate) => candidate.key === key);
    return range === undefined || (size >= range.minSize && (range.maxSize === null || size <= range.maxSize));
  });
}

/** Whether the named witnesses of the policy satisfy its quorum, those of one operator counted once. spec/policy.md 9, 19. */
export function quorumReached(policy: Policy, witnessNames: ReadonlySet<string>): boolean {
  if (policy.quorum === NO_QUORUM) return true;
  const satisfied = new Set<string>();
  for (const { name } of policy.witnesses) if (witnessNames.has(name)) satisfied.add(name);
  // Members are defined before the groups that name them, so one pass in order decides every group.
  for (const { name, threshold, members } of policy.groups) {
    if (
      countOperators(
        policy,
        members.filter((member) => satisfied.has(member)),
      ) >= threshold
    )
      satisfied.add(name);
  }
  return satisfied.has(policy.quorum);
}

/** How many members of a group count: all of one operator once, and each group once. */
export function countOperators({ operators }: Pick<Policy, "operators">, members: readonly string[]): number {
  if (operators.length === 0) return members.length;
  const operatorOf = new Map(operators.flatMap(({ name, witnesses }) => witnesses.map((witness) => [witness, name])));
  // No operator has the name of a witness or group.
  return new Set(members.map((member) => operatorOf.get(member) ?? member)).size;
}

/**
 * Who stands behind these witnesses of the policy: each operator with those it runs, in the order of the names. A witness that no
 * operator names stands for itself.
 */
export function operatorsOf(
  { operators }: Pick<Policy, "operators">,
  witnessNames: readonly string[],
): PolicyOperator[] {
  const known = new Map<string, string[]>();
  for (const witness of witnessNames) {
    const name = operators.find(({ witnesses }) => witnesses.includes(witness))?.name ?? witness;
    const run = known.get(name);
    if (run === undefined) known.set(name, [witness]);
    else run.push(witness);
  }
  return [...known].map(([name, witnesses]) => ({ name, witnesses }));
}

/**
 * Checks a checkpoint note under a pinned policy, in this order: it parses (`malformed-note`, `malformed-checkpoint`);
 * its origin is the policy's (`origin-mismatch`); every line of a log or witness key of the policy verifies
 * (`signature-invalid`); a log key valid for the size signed, and each of `require-all` (`signature-missing`). A quorum that was
 * not reached is in the answer, not an error. spec/checkpoint.md.
 */
export async function verifyCheckpoint(
  note: SignedNote | Uint8Array | string,
  policy: Policy,
): Promise<VerifiedCheckpoint> {
  const parsed = typeof note === "string" || note instanceof Uint8Array ? parseNote(note) : note;
  const checkpoint = parseLedgerCheckpoint(parsed.text);
  if (checkpoint.origin !== policy.origin) {
    throw new VerificationError(
      "origin-mismatch",
      `checkpoint: expected origin ${policy.origin}, got ${checkpoint.origin}`,
      {
        details: { expected: policy.origin, found: checkpoint.origin },
      },
    );
  }
  const keys = [...policy.logKeys, ...policy.witnesses.map((witness) => witness.key)];
  const signatures = await verifyNote(parsed, keys);
  const signers = new Map<VerifierKey, VerifiedSignature>(signatures.map((signature) => [signature.key, signature]));
  const valid = logKeysAt(policy, checkpoint.size);
  const logKeys = valid.filter((key) => signers.has(key));
  if (logKeys.length === 0) {
    throw new VerificationError(
      "signature-missing",
      `checkpoint: no pinned log key valid for size ${checkpoint.size} signed`,
    );
  }
  for (const key of policy.requireAll) {
    if (valid.includes(key) && !signers.has(key)) {
      throw new VerificationError(
        "signature-missing",
        `checkpoint: expected a signature by ${key.vkey.slice(0, key.name.length + 9)} too`,
      );
    }
  }
  const witnesses: { name: string; time: number }[] = [];
  for (const { name, key } of policy.witnesses) {
    // Without a time a witness states nothing about the tree being the latest: no vote, and no time.
    const time = signers.get(key)?.time ?? null;
    if (time !== null) witnesses.push({ name, time });
  }
  const quorum = quorumReached(policy, new Set(witnesses.map((witness) => witness.name)));
  return { checkpoint, note: parsed, logKeys, witnesses, quorum, witnessTime: witnessTimeOf(policy, witnesses) };
}

function witnessTimeOf(
  policy: Policy,
  witnesses: readonly { readonly name: string; readonly time: number }[],
): number | null {
  if (policy.quorum === NO_QUORUM) return null;
  const names = new Set<string>();
  for (const { name, time } of [...witnesses].sort((a, b) => a.time - b.time)) {
    names.add(name);
    if (quorumReached(policy, names)) return time;
  }
  return null;
}

/** A policy while its lines are read. */
class Draft {
  readonly logKeys: VerifierKey[] = [];
  readonly logUrls: (string | null)[] = [];
  readonly witnesses: PolicyWitness[] = [];
  readonly groups: PolicyGroup[] = [];
  quorum: string | null = null;
  readonly operators: PolicyOperator[] = [];
  readonly operatorNames = new Set<string>();
  /** Witnesses that an operator names. */
  readonly operated = new Set<string>();
  genesis: string | null = null;
  readonly keyRanges: { vkey: string; minSize: number; maxSize: number | null }[] = [];
  requireAll: readonly string[] = [];
  readonly authors: PolicyAuthor[] = [];
  requireSignature = false;
  /** Witnesses and groups, which share one name space. */
  readonly names = new Set<string>();
  readonly members = new Set<string>();
  /** Raw public keys: one key under two names would count twice. */
  readonly publicKeys = new Set<string>();
  readonly keyPlaces = new Set<string>();
  readonly rangedKeys = new Set<string>();
  readonly authorKeyIds = new Set<string>();

  addKey(vkey: string, types: readonly NoteSignatureType[]): VerifierKey {
    const key = parseVerifierKey(vkey);
    if (!types.includes(key.type)) throw malformed(`expected a key of type ${types.join(" or ")}, got ${key.type}`);
    addOnce(this.publicKeys, encodeHex(key.publicKey), "a public key occurs twice in the policy");
    addOnce(this.keyPlaces, `${key.keyId} ${key.name}`, "two keys have the same name and key ID");
    return key;
  }

  defineName(name: string): void {
    if (name === NO_QUORUM) throw malformed(`${NO_QUORUM} is no name for a witness or group`);
    addOnce(this.names, name, `the name ${name} is defined twice`);
  }

  finish(): Policy {
    const { logKeys, logUrls, witnesses, groups, quorum, genesis, authors, requireSignature } = this;
    const [first] = logKeys;
    if (first === undefined) throw malformed("policy: expected a log line");
    if (quorum === null) throw malformed("policy: expected a quorum line");
    const byVkey = new Map(logKeys.map((key) => [key.vkey, key]));
    const logKeyOf = (vkey: string, directive: string): VerifierKey => {
      const key = byVkey.get(vkey);
      if (key === undefined)
        throw malformed(`policy: ${directive}: expected a key of a log line, got ${vkey.slice(0, 64)}`);
      return key;
    };
    if (witnesses.some(({ key }) => key.name === first.name))
      throw malformed("policy: a witness key has the name of the log");
    // One key has one role: its owner could otherwise be led to sign as the other.
    const noteKeys = [...logKeys, ...witnesses.map(({ key }) => key)];
    const noteKeyIds = new Set(authors.length === 0 ? [] : noteKeys.map((key) => keyIdOf(spkiOfVerifierKey(key))));
    if (authors.some(({ keyId }) => noteKeyIds.has(keyId)))
      throw malformed("policy: an author key is a log or witness key too");
    const keyRanges = this.keyRanges.map(({ vkey, minSize, maxSize }) => ({
      key: logKeyOf(vkey, "key"),
      minSize,
      maxSize,
    }));
    const requireAll = this.requireAll.map((vkey) => logKeyOf(vkey, "require-all"));
    this.checkOperators();
    const lines = { logKeys, logUrls, witnesses, groups, quorum, operators: this.operators };
    return { origin: first.name, ...lines, genesis, keyRanges, requireAll, authors, requireSignature };
  }

  /** One operator counts once in one place, and every group can be satisfied. */
  private checkOperators(): void {
    const { operators, groups } = this;
    const isWitness = new Set(this.witnesses.map(({ name }) => name));
    const groupOf = new Map(groups.flatMap(({ name, members }) => members.map((member) => [member, name] as const)));
    for (const { name, witnesses } of operators) {
      if (this.names.has(name)) throw malformed(`policy: operator: ${name} is the name of a witness or group`);
      const unknown = witnesses.find((witness) => !isWitness.has(witness));
      if (unknown !== undefined) throw malformed(`policy: operator: ${unknown} is no witness`);
      const places = new Set(witnesses.map((witness) => groupOf.get(witness)).filter((group) => group !== undefined));
      if (places.size > 1) throw malformed(`policy: operator: the witnesses of ${name} are members of several groups`);
    }
    for (const { name, threshold, members } of groups) {
      const count = countOperators({ operators }, members);
      if (threshold > count)
        throw malformed(`policy: group: ${name} asks for ${threshold}, but its members are of ${count} operators`);
    }
  }
}

/** What a line does to the draft, by its first item. Arguments are the items after it. */
const LINES: Readonly<
  Record<string, { readonly items: readonly [min: number, max: number]; readonly read: LineReader }>
> = {
  log: { items: [1, 2], read: readLog },
  witness: { items: [2, 3], read: readWitness },
  group: { items: [3, Number.POSITIVE_INFINITY], read: readGroup },
  quorum: { items: [1, 1], read: readQuorum },
};

const DIRECTIVES: typeof LINES = {
  operator: { items: [2, Number.POSITIVE_INFINITY], read: readOperator },
  genesis: { items: [1, 1], read: readGenesis },
  key: { items: [3, 3], read: readKeyRange },
  "require-all": { items: [1, Number.POSITIVE_INFINITY], read: readRequireAll },
  // The actor may hold spaces, so the items of the line say little: `readAuthor` cuts it itself.
  author: { items: [5, Number.POSITIVE_INFINITY], read: readAuthor },
  "require-signature": { items: [0, 0], read: readRequireSignature },
};

type LineReader = (draft: Draft, items: readonly string[], line: string) => void;

function readLine(draft: Draft, line: string, items: readonly string[]): void {
  const [word, ...rest] = items as [string, ...string[]];
  if (!word.startsWith("#")) {
    readItems(LINES, "line", draft, word, rest, line);
  } else if (word.startsWith(DIRECTIVE)) {
    const [directive, ...values] = rest;
    if (word !== DIRECTIVE || directive === undefined) throw malformed(`expected a directive after ${DIRECTIVE}`);
    readItems(DIRECTIVES, "directive", draft, directive, values, line);
  }
}

function readItems(
  table: typeof LINES,
  what: string,
  draft: Draft,
  word: string,
  items: readonly string[],
  line: string,
): void {
  const row = Object.hasOwn(table, word) ? table[word] : undefined;
  if (row === undefined) throw malformed(`unknown ${what} ${JSON.stringify(word.slice(0, 32))}`);
  const [min, max] = row.items;
  if (items.length < min || items.length > max) throw malformed(`${word}: wrong number of items, got ${items.length}`);
  row.read(draft, items, line);
}

function readLog(draft: Draft, [vkey, url]: readonly string[]): void {
  const key = draft.addKey(vkey as string, LOG_TYPES);
  const [first] = draft.logKeys;
  if (first === undefined) assertOrigin(key.name);
  else if (key.name !== first.name) throw malformed(`expected log keys of one name, ${first.name}, got ${key.name}`);
  draft.logKeys.push(key);
  draft.logUrls.push(url ?? null);
}

function readWitness(draft: Draft, [name, vkey, url]: readonly string[]): void {
  draft.defineName(name as string);
  draft.witnesses.push({ name: name as string, key: draft.addKey(vkey as string, WITNESS_TYPES), url: url ?? null });
}

function readGroup(draft: Draft, [name, count, ...members]: readonly string[]): void {
  const threshold =
    count === "all" ? members.length : count === "any" ? 1 : parseDecimal(count as string, "malformed-policy");
  if (threshold < 1 || threshold > members.length) {
    throw malformed(`group: expected a threshold of 1..${members.length}, got ${threshold}`);
  }
  for (const member of members) {
    // Checked before the group's own name is defined, so that no group is its own member.
    if (!draft.names.has(member)) throw malformed(`group: ${member} is not defined before`);
    addOnce(draft.members, member, `${member} is a member twice`);
  }
  draft.defineName(name as string);
  draft.groups.push({ name: name as string, threshold, members });
}

function readQuorum(draft: Draft, [name]: readonly string[]): void {
  if (draft.quorum !== null) throw malformed("quorum: expected one such line");
  if (name !== NO_QUORUM && !draft.names.has(name as string)) throw malformed(`quorum: ${name} is not defined before`);
  draft.quorum = name as string;
}

function readOperator(draft: Draft, [name, ...witnesses]: readonly string[]): void {
  addOnce(draft.operatorNames, name as string, `operator: ${name} is defined twice`);
  for (const witness of witnesses) addOnce(draft.operated, witness, `operator: ${witness} is named twice`);
  draft.operators.push({ name: name as string, witnesses });
}

function readGenesis(draft: Draft, [leaf]: readonly string[]): void {
  if (draft.genesis !== null) throw malformed("genesis: expected one such directive");
  if (!GENESIS.test(leaf as string)) throw malformed("genesis: expected 64 lower-case hex digits");
  draft.genesis = leaf as string;
}

function readKeyRange(draft: Draft, [vkey, min, max]: readonly string[]): void {
  addOnce(draft.rangedKeys, vkey as string, "key: expected one such directive for a key");
  const [minSize, maxSize] = parseBounds(min as string, max as string);
  draft.keyRanges.push({ vkey: vkey as string, minSize, maxSize });
}

function readRequireAll(draft: Draft, vkeys: readonly string[]): void {
  if (draft.requireAll.length > 0) throw malformed("require-all: expected one such directive");
  if (new Set(vkeys).size < vkeys.length) throw malformed("require-all: a key occurs twice");
  draft.requireAll = vkeys;
}

function readAuthor(draft: Draft, _items: readonly string[], line: string): void {
  let rest = trim(line);
  const takeFirst = (): string => {
    const item = rest.slice(0, rest.search(/[ \t]/));
    rest = trim(rest.slice(item.length));
    return item;
  };
  const takeLast = (): string => {
    const item = rest.slice(Math.max(rest.lastIndexOf(" "), rest.lastIndexOf("\t")) + 1);
    rest = trim(rest.slice(0, rest.length - item.length));
    return item;
  };
  takeFirst();
  takeFirst();
  const algorithm = takeFirst();
  const spki = decodeBase64(takeFirst(), "malformed-policy");
  const until = takeLast();
  const [fromIndex, untilIndex] = parseBounds(takeLast(), until);
  if (!isAlgorithm(algorithm)) throw malformed(`author: unknown algorithm ${JSON.stringify(algorithm.slice(0, 32))}`);
  checkSpki(algorithm, spki);
  const keyId = keyIdOf(spki);
  addOnce(draft.authorKeyIds, keyId, "author: expected one such directive for a key");
  draft.authors.push({ algorithm, spki, keyId, actor: parseActor(rest), fromIndex, untilIndex });
}

function readRequireSignature(draft: Draft): void {
  if (draft.requireSignature) throw malformed("require-signature: expected one such directive");
  draft.requireSignature = true;
}

/** An actor id as a JSON string in canonical form (RFC 8785 §3.2.2.2 is what JSON.stringify writes). */
function parseActor(text: string): string {
  let actor: unknown;
  try {
    actor = JSON.parse(text);
  } catch (cause) {
    throw new MalformedError("malformed-policy", "author: expected the actor id as a JSON string", { cause });
  }
  if (typeof actor !== "string" || JSON.stringify(actor) !== text || /\p{Surrogate}/u.test(actor)) {
    throw malformed("author: expected the actor id as a canonical JSON string");
  }
  const sizeBytes = encodeUtf8(actor).length;
  if (sizeBytes < 1 || sizeBytes > ACTOR_BYTES_MAX) {
    throw malformed(`author: expected an actor id of 1 to ${ACTOR_BYTES_MAX} bytes, got ${sizeBytes}`);
  }
  return actor;
}

function parseBounds(min: string, max: string): [number, number | null] {
  const from = parseDecimal(min, "malformed-policy");
  const to = max === "-" ? null : parseDecimal(max, "malformed-policy");
  if (to !== null && to < from) throw malformed(`expected ${min} to be at most ${max}`);
  return [from, to];
}

/** Items of a line: separated by runs of space and tab, and by nothing else that may look like it. */
function itemsOf(line: string): string[] {
  return line.split(/[ \t]+/).filter((item) => item !== "");
}

/** Without spaces and tabs at both ends. A regular expression would take quadratic time for hostile runs of them. */
function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isSeparator(text.charCodeAt(start))) start++;
  while (end > start && isSeparator(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isSeparator(unit: number): boolean {
  return unit === 0x20 || unit === 0x09;
}

/** Items of a line to be written: each must come back as one item. */
function joinItems(...items: readonly (string | null)[]): string {
  const present = items.filter((item) => item !== null);
  for (const item of present) {
    if (item === "" || /[ \t\n]/.test(item))
      throw malformed(`policy: expected items without white space, got ${JSON.stringify(item.slice(0, 64))}`);
  }
  return present.join(" ");
}

function addOnce(set: Set<string>, value: string, problem: string): void {
  if (set.has(value)) throw malformed(problem);
  set.add(value);
}

function malformed(problem: string): MalformedError {
  return new MalformedError("malformed-policy", problem);
}
