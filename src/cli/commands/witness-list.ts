import { isTallystickError } from "../../core/errors.ts";
import { parseNote } from "../../core/note.ts";
import { type Policy, type PolicyWitness, parsePolicy, verifyCheckpoint } from "../../core/policy.ts";
import type { WitnessStatus } from "../../ledger/witnessing.ts";
import { httpWitness } from "../../witness/client.ts";
import { type Context, ledgerAnd, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { safeText, shortVkey } from "../terminal-text.ts";
import { quorumOf, quorumText } from "../witness-policy.ts";

interface WitnessListOptions {
  readonly ask?: boolean;
}

/** Lists the witnesses in the policy that this machine keeps, and what each cosigned last; with `--ask`, what each shows now. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: WitnessListOptions,
): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  const { style } = out;
  const { origin, size, status } = await withLedger(context, location, { mode: "read" }, async (ledger) => ({
    origin: ledger.origin,
    size: ledger.size,
    status: await ledger.status(),
  }));
  const kept = stateOf(context).readPolicy(origin);
  const policy = kept === undefined ? null : parsePolicy(kept);
  const required = policy === null ? null : quorumOf(policy);
  const witnesses = await Promise.all(
    (policy?.witnesses ?? []).map(async (witness) => ({
      ...factsOf(witness, status.witnesses),
      operator: policy?.operators.find((each) => each.witnesses.includes(witness.name))?.name ?? null,
      counts: required?.members.includes(witness.name) ?? false,
      ...(options.ask === true && policy !== null ? { shows: await whatItShows(witness, policy) } : {}),
    })),
  );
  await out.object("witnesses", { origin, size, quorum: required, witnessed: status.witnessed, witnesses });
  if (witnesses.length === 0) {
    await out.line(`no witnesses: nobody outside holds a head of ${origin}`);
    out.note("`tallystick witness add LEDGER --url URL --key VKEY` takes one into the policy.");
    return EXIT.ok;
  }
  await out.line(
    required === null ? "no quorum is asked for" : `quorum ${safeText(quorumText(policy as Policy, required))}`,
  );
  for (const { name, key, url, cosigned, cosignedAt, shows } of witnesses) {
    const when = cosignedAt === null ? "" : `, ${cosignedAt}`;
    const facts = [
      cosigned === 0 ? "nothing cosigned yet" : `cosigned size ${cosigned} of ${size}${when}`,
      ...(url === null ? ["no URL: never asked"] : []),
      ...(shows === undefined ? [] : [shows.says]),
    ];
    await out.line(
      `${cosigned > 0 ? style.green("●") : style.dim("○")} ${style.bold(safeText(name))}  ${safeText(url ?? "")}`,
    );
    await out.line(`  ${safeText(facts.join("; "))}`);
    await out.line(`  ${style.dim(shortVkey(key))}`);
  }
  for (const { name, cosigned, shows } of witnesses) {
    if (shows?.isAnswer === true && (shows.size ?? 0) < cosigned)
      out.warn(
        `${name} cosigned size ${cosigned}, and ${shows.says}: it went back, unless what it shows is merely late`,
      );
    if ((shows?.size ?? 0) > size)
      out.warn(
        `${name} shows size ${shows?.size} under the ledger's key, and the ledger has ${size} entries: it was rolled back`,
      );
  }
  return EXIT.ok;
}

function factsOf({ name, key, url }: PolicyWitness, all: readonly WitnessStatus[]) {
  const known = all.find((each) => each.name === name);
  const at = known?.cosignedAt ?? null;
  return {
    name,
    key: key.vkey,
    url,
    cosigned: known?.size ?? 0,
    cosignedAt: at === null ? null : new Date(at).toISOString(),
  };
}

/** Only what the ledger's own key signed says anything. */
async function whatItShows(
  { name, key, url }: PolicyWitness,
  policy: Policy,
): Promise<{ readonly says: string; readonly size: number | null; readonly isAnswer: boolean }> {
  if (url === null) return { says: "not asked", size: null, isAnswer: false };
  const note = await httpWitness({ name, vkey: key.vkey, url }).latest(policy.origin);
  if (note === undefined) return { says: "does not answer", size: null, isAnswer: false };
  if (note === null) return { says: "shows nothing of this ledger", size: null, isAnswer: true };
  try {
    const { checkpoint } = await verifyCheckpoint(parseNote(note), policy);
    return { says: `shows size ${checkpoint.size} now`, size: checkpoint.size, isAnswer: true };
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return { says: `shows what proves nothing: ${error.message}`, size: null, isAnswer: false };
  }
}
