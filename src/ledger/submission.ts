import { commitBody, commitFields, cutFields, fieldDigest } from "../core/commitment.ts";
import { parseControlEvent } from "../core/control-event.ts";
import type { Scheme } from "../core/entry.ts";
import { actorIdOf, type EncodedEvent, type Event } from "../core/event.ts";
import type { HashName } from "../core/hash.ts";
import { SALT_BYTES } from "../core/limits.ts";

/** One event ready to be sequenced: everything that does not depend on its place in the log is done. */
export interface Submission {
  readonly body: string;
  readonly sizeBytes: number;
  readonly scheme: Scheme;
  readonly salts: Uint8Array;
  /** `<hash name>:<hex>` */
  readonly commitment: string;
  readonly id: string | null;
  /** Null unless the event is author-signed; then what must still hold under the lock. */
  readonly signed: { readonly keyIds: readonly string[]; readonly actor: string | null } | null;
}

/** Computes the commitment of an encoded event. */
export function prepareSubmission(
  encoded: EncodedEvent,
  scheme: Scheme,
  salts: (count: number) => Uint8Array,
  hash: HashName,
): Submission {
  const { body, sizeBytes, id, event } = encoded;
  // What no verifier would accept must not be written: control events are refused here, before they can do harm.
  if (scheme === "control") parseControlEvent(event);
  const signed =
    event.signatures === undefined
      ? null
      : { keyIds: event.signatures.map((signature) => signature.keyId), actor: actorIdOf(event) };
  if (scheme !== "fields") {
    const salt = salts(1);
    return {
      body,
      sizeBytes,
      scheme,
      salts: salt,
      commitment: `${hash}:${commitBody(hash, scheme, salt, body)}`,
      id,
      signed,
    };
  }
  const { salts: all, commitment } = commitEventFields(event, body, salts, hash);
  return { body, sizeBytes, scheme, salts: all, commitment, id, signed };
}

function commitEventFields(
  event: Event,
  body: string,
  salts: (count: number) => Uint8Array,
  hash: HashName,
): { salts: Uint8Array; commitment: string } {
  const fields = cutFields(event, body);
  const all = salts(fields.length);
  const digests = fields.map((field, i) =>
    fieldDigest(hash, all.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES), field),
  );
  const names = fields.map((field) => field.name);
  return { salts: all, commitment: `${hash}:${commitFields(hash, names, digests)}` };
}
