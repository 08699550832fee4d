import { createHash } from "node:crypto";
import { formatOtsTimestamp, type OtsTimestamp } from "../../src/core/anchor-proof/opentimestamps.ts";
import { mineHeader } from "./bitcoin.ts";
import { type Loopback, serve } from "./loopback.ts";

const sha = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

export interface Calendar extends Loopback {
  /** Puts everything submitted so far into a block of its own and returns its header. */
  confirm(height: number, time: number): Uint8Array;
}

/** A calendar of OpenTimestamps on loopback: one commitment for each digest, confirmed on demand. */
export async function startCalendar(): Promise<Calendar> {
  const commitments: Buffer[] = [];
  let block: { readonly leaf: string; readonly tree: OtsTimestamp } | null = null;
  const server = await serve((request, body, response) => {
    if (request.method === "POST" && request.url === "/digest" && body.length <= 64) {
      const salt = Buffer.from("0011223344556677", "hex");
      const commitment = sha(Buffer.concat([body, salt]));
      commitments.push(commitment);
      response.setHeader("content-type", "application/octet-stream");
      response.end(answer(salt, body, commitment, server.url));
      return;
    }
    const hex = /^\/timestamp\/([0-9a-f]{64})$/.exec(request.url ?? "")?.[1];
    if (block !== null && hex === block.leaf) {
      response.end(formatOtsTimestamp(block.tree));
      return;
    }
    response.statusCode = hex === undefined ? 400 : 404;
    response.end("Pending confirmation in Bitcoin blockchain\n");
  });
  return {
    ...server,
    confirm(height, time) {
      const leaf = commitments.at(-1)!;
      const prefix = Buffer.from("01000000", "hex");
      const root = sha(sha(Buffer.concat([prefix, leaf])));
      const top: OtsTimestamp = {
        message: root,
        items: [{ kind: "attestation", attestation: { kind: "bitcoin", height } }],
      };
      const none = new Uint8Array();
      const once: OtsTimestamp = {
        message: none,
        items: [{ kind: "operation", operation: { name: "sha256", argument: none }, next: top }],
      };
      const twice: OtsTimestamp = {
        message: none,
        items: [{ kind: "operation", operation: { name: "sha256", argument: none }, next: once }],
      };
      const tree: OtsTimestamp = {
        message: leaf,
        items: [{ kind: "operation", operation: { name: "prepend", argument: prefix }, next: twice }],
      };
      block = { leaf: leaf.toString("hex"), tree };
      return mineHeader(root, time);
    },
  };
}

function answer(salt: Buffer, body: Buffer, commitment: Buffer, uri: string): Uint8Array {
  const pending: OtsTimestamp = {
    message: commitment,
    items: [{ kind: "attestation", attestation: { kind: "pending", uri } }],
  };
  const hashed: OtsTimestamp = {
    message: body,
    items: [{ kind: "operation", operation: { name: "sha256", argument: new Uint8Array() }, next: pending }],
  };
  return formatOtsTimestamp({
    message: body,
    items: [{ kind: "operation", operation: { name: "append", argument: salt }, next: hashed }],
  });
}
