import { commitBody, commitFields, cutFields, fieldDigest } from "../core/commitment.ts";
import { parseControlEvent } from "../core/control-event.ts";
import type { Scheme } from "../core/entry.ts";
import { actorIdOf, type EncodedEvent, type Event } from "../core/event.ts";
import type { HashName } from "../core/hash.ts";
import { SALT_BYTES } from "../core/limits.ts";

/**
 * One event ready to be sequenced: everything that does not depend on its place in the log is done.
 *
 * A class, like all that lives as long as a batch does: V8 finds that object literals survive here, puts them among the old
 * objects from then on, and dead ones there keep every text that they name until the next full collection (measured: three
 * times the memory and a tenth of the speed).
 */
export class Submission {
  readonly body: string;
  readonly sizeBytes: number;
  readonly scheme: Scheme;
  readonly salts: Uint8Array;
  /** `<hash name>:<hex>` */
  readonly commitment: string;
  readonly id: string | null;
  /** Null unless the event is author-signed; then what must still hold under the lock. */
  readonly signed: AuthorClaim | null;

  constructor(
    encoded: EncodedEvent,
    committed: { readonly scheme: Scheme; readonly salts: Uint8Array; readonly commitment: string },
  ) {
    this.body = encoded.body;
    this.sizeBytes = encoded.sizeBytes;
    this.scheme = committed.scheme;
    this.salts = committed.salts;
    this.commitment = committed.commitment;
    this.id = encoded.id;
    this.signed = claimOf(encoded.event);
  }
}

/** Which keys signed an event, and for whom. */
interface AuthorClaim {
  readonly keyIds: readonly string[];
  readonly actor: string | null;
}

function claimOf(event: Event): AuthorClaim | null {
  if (event.signatures === undefined) return null;
  return { keyIds: event.signatures.map((signature) => signature.keyId), actor: actorIdOf(event) };
}

/** Computes the commitment of an encoded event. */
export function prepareSubmission(
  encoded: EncodedEvent,
  scheme: Scheme,
  salts: (count: number) => Uint8Array,
  hash: HashName,
): Submission {
  const { body, event } = encoded;
  // What no verifier would accept must not be written: control events are refused here, before they can do harm.
  if (scheme === "control") parseControlEvent(event);
  if (scheme === "fields") return new Submission(encoded, { scheme, ...commitEventFields(event, body, salts, hash) });
  const salt = salts(1);
  const commitment = `${hash}:${commitBody(hash, scheme, salt, body)}`;
  return new Submission(encoded, { scheme, salts: salt, commitment });
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
