import { bytesEqual } from "../core/encoding.ts";
import { ConflictError } from "../core/errors.ts";
import type { VerifierKey } from "../core/note.ts";
import {
  countOperators,
  formatPolicy,
  operatorsOf,
  type Policy,
  type PolicyGroup,
  type PolicyOperator,
  type PolicyWitness,
} from "../core/policy.ts";
import { UsageError } from "./failure.ts";

/** Who counts for the quorum, and how many of them are enough. */
export interface Quorum {
  readonly name: string;
  readonly threshold: number;
  readonly members: readonly string[];
}

/** The quorum of a policy, also where it is a single witness; null for `none`. */
export function quorumOf(policy: Policy): Quorum | null {
  if (policy.quorum === "none") return null;
  const group = policy.groups.find(({ name }) => name === policy.quorum);
  return group ?? { name: policy.quorum, threshold: 1, members: [policy.quorum] };
}

/** `2 of 3: w1, w2, w3`, or by operator where the policy names any: `2 of 2 operators: acme (w1, w2), w3`. */
export function quorumText(policy: Policy, { threshold, members }: Quorum): string {
  if (policy.operators.length === 0) return `${threshold} of ${members.length}: ${members.join(", ")}`;
  const each = operatorsOf(policy, members).map(({ name, witnesses }) =>
    witnesses.join() === name ? name : `${name} (${witnesses.join(", ")})`,
  );
  return `${threshold} of ${each.length} operators: ${each.join(", ")}`;
}

/** More than half: two quorums then always share a witness, so no two histories can both be witnessed. */
export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1;
}

export interface NewWitness {
  readonly name: string;
  readonly key: VerifierKey;
  readonly url: string;
  /** Who runs it: its witnesses count once. Left out: as before, for a new witness itself alone. */
  readonly operator?: string | undefined;
  /** How many members (operators) of the quorum's group are enough; left out, a majority stays a majority and another number stays. */
  readonly quorum?: number | undefined;
}

/**
 * Text of the policy with one more witness, which counts for its quorum; or with another URL or number for a witness that it has
 * already. `already-exists` for a name or a key that is another's.
 */
export function addWitness(policy: Policy, added: NewWitness): string {
  const { name, key, url } = added;
  const present = policy.witnesses.find((witness) => bytesEqual(witness.key.publicKey, key.publicKey));
  if (present !== undefined && present.name !== name) {
    throw new ConflictError(
      "already-exists",
      `the policy has this key already, as ${present.name}: one key under two names would count twice`,
      { details: { name: present.name } },
    );
  }
  if (present === undefined && isDefined(policy, name))
    throw new ConflictError("already-exists", `the policy has another ${name} already: give another --name`, {
      details: { name },
    });
  if (WORDS.includes(name)) throw new UsageError(`expected --name to be no word of policies, got ${name}`);
  const witnesses: PolicyWitness[] = policy.witnesses.map((witness) =>
    witness.name === name ? { name, key, url } : witness,
  );
  if (present === undefined) witnesses.push({ name, key, url });
  const operators = withOperator(policy.operators, added);
  return formatPolicy({ ...policy, operators, ...withQuorum({ ...policy, operators }, policy, added), witnesses });
}

const GROUP = "witnesses";
/** Words that other readers of policies take for something else. */
const WORDS: readonly string[] = ["log", "witness", "group", "quorum", "any", "all", "none"];

function isDefined(policy: Policy, name: string): boolean {
  return [...policy.witnesses, ...policy.groups].some((item) => item.name === name);
}

function withOperator(operators: readonly PolicyOperator[], { name, operator }: NewWitness): readonly PolicyOperator[] {
  if (operator === undefined) return operators;
  const others = operators
    .map((each) => ({ ...each, witnesses: each.witnesses.filter((witness) => witness !== name) }))
    .filter((each) => each.witnesses.length > 0 || each.name === operator);
  return others.some((each) => each.name === operator)
    ? others.map((each) => (each.name === operator ? { ...each, witnesses: [...each.witnesses, name] } : each))
    : [...others, { name: operator, witnesses: [name] }];
}

/** Group and threshold once the witness is in `policy`, whose operators are the new ones; `former` is the policy before. */
function withQuorum(
  policy: Policy,
  former: Policy,
  { name, quorum: asked }: NewWitness,
): { readonly groups: readonly PolicyGroup[]; readonly quorum: string } {
  const before = quorumOf(policy) ?? { name: freeName(policy, name), threshold: 0, members: [] };
  const isElsewhere = policy.groups.some((group) => group.name !== before.name && group.members.includes(name));
  const members = before.members.includes(name) || isElsewhere ? before.members : [...before.members, name];
  const wasMajority = before.threshold === 0 || before.threshold === majorityOf(countOperators(former, before.members));
  const count = countOperators(policy, members);
  const threshold = asked ?? (wasMajority ? majorityOf(count) : before.threshold);
  const what = policy.operators.length === 0 ? "witnesses" : "their operators";
  if (threshold > count)
    throw new UsageError(`expected --quorum to be 1 to ${count}, the number of ${what}, got ${threshold}`);
  // The quorum of one witness alone has no group yet.
  const isGroup = policy.groups.some((group) => group.name === before.name);
  const group: PolicyGroup = { name: isGroup ? before.name : freeName(policy, name), threshold, members };
  const groups = isGroup
    ? policy.groups.map((each) => (each.name === group.name ? group : each))
    : [...policy.groups, group];
  return { groups, quorum: group.name };
}

function freeName(policy: Policy, taken: string): string {
  for (let i = 1; ; i++) {
    const name = i === 1 ? GROUP : `${GROUP}-${i}`;
    if (name !== taken && !isDefined(policy, name)) return name;
  }
}
