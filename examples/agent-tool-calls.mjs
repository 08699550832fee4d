/**
 * An agent platform records tool calls: no record, no call. Each event is signed with the agent's own key, so that nobody
 * else can have written it, and counted, so that a gap shows.
 *
 *     node examples/agent-tool-calls.mjs [FOLDER]
 */
import { createHash } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ledger } from "tallystick";
import { generateAuthorKey } from "tallystick/keys";

const AGENT = "agent:support-7";

/**
 * Records for one run of one agent, one after the other, so that their order is that of the counter. One that fails ends the
 * run. Scheme `fields`: the arguments can be erased later, and the rest stays provable.
 */
function auditRun(ledger, signer, run) {
  let counter = 0;
  let last = Promise.resolve();
  return (action, event) => {
    const number = counter++;
    const signed = {
      id: `${run}/${number}`,
      action,
      actor: { id: AGENT, type: "agent", onBehalfOf: "alice" },
      context: { session: run },
      source: { id: run, counter: number },
      ...event,
    };
    last = last.then(() => ledger.append(signed, { signer, scheme: "fields" }));
    return last;
  };
}

/** A tool that runs only once its call is durable in the log, and whose outcome is recorded whatever it is. */
function audited(record, name, tool) {
  return async (args) => {
    const targets = [{ id: name, type: "tool" }];
    const { index: call } = await record("tool.called", { targets, payload: { arguments: args } });
    const [outcome] = await Promise.allSettled([tool(args)]);
    if (outcome.status === "rejected") {
      await record("tool.returned", { targets, outcome: "failure", payload: { call, error: outcome.reason.message } });
      throw outcome.reason;
    }
    // The result may be large or private: its digest is enough to recognise it.
    const resultSha256 = createHash("sha256").update(JSON.stringify(outcome.value)).digest("hex");
    await record("tool.returned", { targets, outcome: "success", payload: { call, resultSha256 } });
    return outcome.value;
  };
}

const folder = process.argv[2] ?? mkdtempSync(join(tmpdir(), "agent-"));
const ledger = await Ledger.open(join(folder, "agents.db"), { rules: { requireSignature: true } });
try {
  // In a real platform this key lives with the agent's runtime, and never with the ledger.
  const signer = generateAuthorKey();
  await ledger.keys.addAuthor(signer, AGENT);

  const record = auditRun(ledger, signer, "run-1");
  const lookUp = audited(record, "crm.lookup", async ({ customer }) => ({ customer, plan: "pro" }));
  const refund = audited(record, "billing.refund", async () => {
    throw new Error("limit exceeded");
  });
  await lookUp({ customer: "c-17" });
  await refund({ customer: "c-17", amount: 99 }).catch((error) => console.log(`refund refused: ${error.message}`));

  for await (const { index, event } of ledger.query({ correlation: "run-1" })) {
    console.log(`entry ${index}: ${event?.action} ${event?.targets?.[0]?.id} ${event?.outcome ?? ""}`.trimEnd());
  }

  // The operator cannot speak for the agent: an event without its signature is refused, and so is one by another key.
  await ledger.append({ id: "x-1", action: "tool.called", actor: AGENT }).catch(({ code }) => console.log(code));
  await ledger
    .append({ id: "x-2", action: "tool.called", actor: AGENT }, { signer: generateAuthorKey() })
    .catch(({ code }) => console.log(code));

  // Whoever audits pins the agent's key beside the log's, got from the agent's platform and not from the ledger.
  const spki = Buffer.from(signer.spki).toString("base64");
  const author = `#tallystick author ${signer.algorithm} ${spki} ${JSON.stringify(AGENT)} 0 -\n`;
  const policy = `${ledger.policy()}${author}#tallystick require-signature\n`;
  const report = await ledger.verify({ policy });
  console.log(report.summary);

  // A pipe that loses an event: the counter tells.
  await ledger.append(
    { id: "run-1/5", action: "tool.called", actor: AGENT, source: { id: "run-1", counter: 5 } },
    { signer },
  );
  for (const { code, index, message } of (await ledger.verify({ policy })).findings) {
    console.log(`${code} at ${index}: ${message}`);
  }
} finally {
  await ledger.close();
}
