import { canonicalize, compareNames } from "./canonical-json.ts";
import { commitFields, cutFields, fieldDigest } from "./commitment.ts";
import { decodeBase64, encodeBase64, encodeUtf8 } from "./encoding.ts";
import type { Scheme } from "./entry.ts";
import { MalformedError, PolicyError, VerificationError } from "./errors.ts";
import { actorIdOf, type Event, type EventSignature } from "./event.ts";
import { type HashName, sha256Hex } from "./hash.ts";
import type { AuthorRegistration } from "./ledger-state.ts";
import { SALT_BYTES } from "./limits.ts";
import { type Algorithm, verifySignature } from "./signature/table.ts";

/** Signatures by the actor of an event, inside the event, so that the ledger's operator cannot make one up. Spec: spec/keys.md. */

/** Port: an actor's key. Concurrent calls are allowed. */
export interface AuthorSigner {
  readonly algorithm: Algorithm;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** 64 hex digits: SHA-256 of `spki`. */
  readonly keyId: string;
  /** Signature over `message` in the encoding of the formats: ECDSA r ‖ s with low s, RSA as wide as the modulus. */
  sign(message: Uint8Array): Promise<Uint8Array>;
}

/** What an author signs: the whole event, or the field digests of scheme `fields`, `signatures` left out either way. */
export type AuthoredContent =
  | { readonly scheme: "event"; readonly event: Partial<Event> }
  | { readonly scheme: "fields"; readonly names: readonly string[]; readonly digests: readonly string[] };

export interface AuthorContext {
  readonly origin: string;
  readonly scheme: Scheme;
  /** The ledger's commitment hash. */
  readonly hash: HashName;
}

/**
 * Bytes under an author signature: `"tallystick/v1/author\n" ‖ origin ‖ "\n" ‖ algorithm ‖ "\n" ‖ keyId ‖ "\n" ‖ scheme ‖ "\n" ‖
 * hex A`. Scheme `event`: A = SHA-256(JCS(event without signatures)). Scheme `fields`: A is the commitment of the names without
 * `signatures` and their digests (hex, in name order), so that it stands whatever is withheld or erased later.
 */
export function authorMessage(
  parts: {
    readonly origin: string;
    readonly algorithm: string;
    readonly keyId: string;
    readonly hash: HashName;
  } & AuthoredContent,
): Uint8Array {
  const { origin, algorithm, keyId, scheme } = parts;
  const content =
    parts.scheme === "event" ? eventDigest(parts.event) : fieldsDigest(parts.hash, parts.names, parts.digests);
  return encodeUtf8(`tallystick/v1/author\n${origin}\n${algorithm}\n${keyId}\n${scheme}\n${content}`);
}

function eventDigest(event: Partial<Event>): string {
  const { signatures: _, ...unsigned } = event;
  return sha256Hex(canonicalize(unsigned));
}

function fieldsDigest(hash: HashName, names: readonly string[], digests: readonly string[]): string {
  const at = names.indexOf("signatures");
  return at < 0
    ? commitFields(hash, names, digests)
    : commitFields(hash, names.toSpliced(at, 1), digests.toSpliced(at, 1));
}

export interface SignedEvent {
  readonly event: Event;
  /** Scheme `fields`: the salts that were signed, 16 bytes for each field of `event` in name order; they must be committed. */
  readonly salts: Uint8Array | null;
}

/**
 * The event with signatures by `signer` (several keys of one actor: all of them). `salts(count)` draws 16 × count bytes and is
 * called for scheme `fields` alone. Errors: `malformed-event` without an `id` (a signed event must not be replayable), or in
 * scheme `fields` when it carries signatures already, as their salts are not known here; what the signer throws.
 */
export async function signEvent(
  input: Event,
  options: AuthorContext & {
    readonly signer: AuthorSigner | readonly AuthorSigner[];
    readonly salts: (count: number) => Uint8Array;
  },
): Promise<SignedEvent> {
  const { origin, scheme, hash } = options;
  const signers = "sign" in options.signer ? [options.signer] : options.signer;
  // A copy: the caller may change the event while a key service is thinking, and what is returned must be what was signed.
  const event = JSON.parse(canonicalize(input)) as Event;
  if (scheme === "control") throw new TypeError("signEvent: expected scheme event or fields, got control");
  if (event.id === undefined) throw malformedEvent("/id", "a signed event needs an id, or it could be replayed");
  const present = event.signatures ?? [];
  let salts: Uint8Array | null = null;
  let content: AuthoredContent = { scheme: "event", event };
  if (scheme === "fields") {
    if (present.length > 0) throw malformedEvent("/signatures", "in scheme fields all signatures are made at once");
    const drawn = drawFields(event, hash, options.salts);
    salts = drawn.salts;
    content = { scheme: "fields", names: drawn.names, digests: drawn.digests };
  }
  const made = signers.map(async (signer): Promise<EventSignature> => {
    const { algorithm, keyId } = signer;
    const message = authorMessage({ origin, algorithm, keyId, hash, ...content });
    return { keyId, signature: encodeBase64(await signer.sign(message)) };
  });
  return { event: { ...event, signatures: [...present, ...(await Promise.all(made))] }, salts };
}

/** Fields of the unsigned event under salts that leave room for `signatures` at its place in the order of names. */
function drawFields(
  event: Event,
  hash: HashName,
  draw: (count: number) => Uint8Array,
): { readonly names: string[]; readonly digests: string[]; readonly salts: Uint8Array } {
  const { signatures: _, ...unsigned } = event;
  const fields = cutFields(unsigned);
  const salts = draw(fields.length + 1);
  const digests = fields.map((field, i) => {
    const place = compareNames(field.name, "signatures") < 0 ? i : i + 1;
    return fieldDigest(hash, salts.subarray(place * SALT_BYTES, (place + 1) * SALT_BYTES), field);
  });
  return { names: fields.map((field) => field.name), digests, salts };
}

/**
 * Verifies every signature that `event` carries against the registered keys; whether a registration is in force at an index is
 * the caller's to check. `salts`: 16 bytes for each field in name order, null in scheme `event`. Errors: `signature-missing`
 * (it carries none), `author-not-registered` (unknown key, or a key of another actor), `malformed-signature`,
 * `signature-invalid`.
 */
export async function verifyAuthorSignatures(
  event: Event,
  options: AuthorContext & {
    readonly authors: ReadonlyMap<string, Pick<AuthorRegistration, "algorithm" | "spki" | "actor">>;
    readonly salts: Uint8Array | null;
  },
): Promise<void> {
  const { origin, hash, authors } = options;
  const signatures = event.signatures ?? [];
  if (signatures.length === 0)
    throw new VerificationError("signature-missing", "event: it carries no author signature");
  const content = contentOf(event, options);
  const actor = actorIdOf(event);
  for (const { keyId, signature } of signatures) {
    const author = authors.get(keyId);
    if (author === undefined || author.actor !== actor) {
      const problem = `author key ${keyId} is not registered for actor ${JSON.stringify(actor)}`;
      throw new PolicyError("author-not-registered", problem, { details: { keyId } });
    }
    const message = authorMessage({ origin, algorithm: author.algorithm, keyId, hash, ...content });
    const bytes = decodeBase64(signature, "malformed-signature");
    if (!(await verifySignature(author.algorithm, author.spki, message, bytes))) {
      throw new VerificationError("signature-invalid", `event: the author signature of key ${keyId} does not verify`, {
        details: { keyId },
      });
    }
  }
}

function contentOf(
  event: Event,
  { scheme, hash, salts }: AuthorContext & { readonly salts: Uint8Array | null },
): AuthoredContent {
  if (scheme !== "fields") return { scheme: "event", event };
  const fields = cutFields(event);
  if (salts?.length !== fields.length * SALT_BYTES) {
    throw new MalformedError("malformed-commitment", `salts: expected ${fields.length} of ${SALT_BYTES} bytes`);
  }
  const digests = fields.map((field, i) =>
    fieldDigest(hash, salts.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES), field),
  );
  return { scheme, names: fields.map((field) => field.name), digests };
}

function malformedEvent(pointer: string, problem: string): MalformedError {
  return new MalformedError("malformed-event", `${pointer}: ${problem}`, { details: { pointer } });
}
