import { bytesOf, textOf, type WrittenBytes } from "../core/canonical-writer.ts";
import { commitBody, commitFields, commitWritten, cutBody, fieldDigest } from "../core/commitment.ts";
import { parseControlEvent } from "../core/control-event.ts";
import type { Scheme } from "../core/entry.ts";
import { actorIdOf, type EncodedEvent, type Event, eventOf, type WrittenEvent } from "../core/event.ts";
import { type HashName, readText, writeText } from "../core/hash.ts";
import { SALT_BYTES } from "../core/limits.ts";
import type { SaltPool } from "./salt-pool.ts";

/**
 * One event ready to be sequenced: everything that does not depend on its place in the log is done.
 *
 * Its content, salts and canonical event, is text of its own, or stands in bytes that somebody else will write over: where it was made
 * (`writeSubmission`), then where it was moved. A text that nobody asks for is never made, which is a tenth of an append.
 *
 * A class, like all that lives as long as a batch does: V8 finds that object literals survive here, puts them among the old
 * objects from then on, and dead ones there keep every text that they name until the next full collection (measured: three
 * times the memory and a tenth of the speed).
 */
export class Submission {
  /** UTF-8 bytes of `body`. */
  readonly sizeBytes: number;
  readonly saltsSize: number;
  readonly scheme: Scheme;
  readonly hash: HashName;
  readonly id: string | null;
  /** Null unless the event is author-signed; then what must still hold under the lock. */
  readonly signed: AuthorClaim | null;
  /** Units of `digest`. */
  readonly digestSize: number;
  private hex: string | null;
  private text: string | null = null;
  private ownSalts: Uint8Array | null = null;
  private written: WrittenBytes | null = null;
  private bytes: Uint8Array | null = null;
  private at: ContentPlace = NOWHERE;
  private isAscii = false;

  private constructor(
    event: Pick<WrittenEvent, "id" | "signed">,
    sizes: { readonly sizeBytes: number; readonly saltsSize: number },
    committed: Committed,
  ) {
    this.sizeBytes = sizes.sizeBytes;
    this.saltsSize = sizes.saltsSize;
    this.scheme = committed.scheme;
    this.hash = committed.hash;
    this.digestSize = committed.digest.length;
    this.hex = committed.digest;
    this.id = event.id;
    this.signed = claimOf(event.signed);
  }

  static ofText(encoded: EncodedEvent, committed: Committed, salts: Uint8Array): Submission {
    const submission = new Submission(encoded, { sizeBytes: encoded.sizeBytes, saltsSize: salts.length }, committed);
    submission.text = encoded.body;
    submission.ownSalts = salts;
    return submission;
  }

  /** Of an event that was just written, with its salt right before it. */
  static ofWritten(event: WrittenEvent, committed: Committed): Submission {
    const { written } = event;
    const sizes = { sizeBytes: written.end - written.start, saltsSize: SALT_BYTES };
    const submission = new Submission(event, sizes, committed);
    submission.written = written;
    submission.isAscii = written.isAscii;
    return submission;
  }

  /** Of the commitment, in hex. */
  get digest(): string {
    if (this.hex !== null) return this.hex;
    const { digest } = this.at;
    return readText(this.bytes!, digest, digest + this.digestSize, true);
  }

  /** `<hash name>:<hex>` */
  get commitment(): string {
    return `${this.hash}:${this.digest}`;
  }

  /** Canonical event text. */
  get body(): string {
    if (this.text !== null) return this.text;
    if (this.written !== null) return textOf(this.written);
    return readText(this.bytes!, this.at.body, this.at.body + this.sizeBytes, this.isAscii);
  }

  /** 16 bytes each. */
  get salts(): Uint8Array {
    if (this.ownSalts !== null) return this.ownSalts;
    const { written, saltsSize } = this;
    const salts = new Uint8Array(saltsSize);
    if (written !== null) copyBytes(salts, 0, bytesOf(written, SALT_BYTES), 0, SALT_BYTES);
    else copyBytes(salts, 0, this.bytes!, this.at.salts, saltsSize);
    return salts;
  }

  /** Takes the content out of bytes that may be written over. Idempotent. */
  own(): void {
    if (this.text !== null) return;
    this.ownSalts = this.salts;
    this.text = this.body;
    this.hex = this.digest;
    this.written = null;
    this.bytes = null;
  }

  /**
   * Writes the content to places of `target`, a Buffer in Node: `saltsSize` and `sizeBytes` bytes; the digest stands there already. Unless it
   * owned them, they stand there from now on.
   */
  moveTo(target: Uint8Array, to: ContentPlace): void {
    const { text, written, bytes, at, sizeBytes, saltsSize } = this;
    if (text !== null) {
      writeText(target, text, to.body, sizeBytes === text.length);
      copyBytes(target, to.salts, this.ownSalts!, 0, saltsSize);
      return;
    }
    if (written !== null) {
      target.set(bytesOf(written), to.body);
      copyBytes(target, to.salts, written.scratch, written.start - SALT_BYTES, SALT_BYTES);
      this.written = null;
    } else {
      target.set(bytes!.subarray(at.body, at.body + sizeBytes), to.body);
      copyBytes(target, to.salts, bytes!, at.salts, saltsSize);
    }
    this.hex = null;
    this.bytes = target;
    this.at = to;
  }
}

/** Where the content of a submission begins, and the digits of its digest. */
export interface ContentPlace {
  readonly salts: number;
  readonly body: number;
  readonly digest: number;
}

const NOWHERE: ContentPlace = { salts: 0, body: 0, digest: 0 };

interface Committed {
  readonly scheme: Scheme;
  readonly hash: HashName;
  readonly digest: string;
}

/** For few bytes, for which `set` takes longer. */
function copyBytes(target: Uint8Array, targetAt: number, source: Uint8Array, sourceAt: number, size: number): void {
  for (let i = 0; i < size; i++) target[targetAt + i] = source[sourceAt + i]!;
}

/** Which keys signed an event, and for whom. */
interface AuthorClaim {
  readonly keyIds: readonly string[];
  readonly actor: string | null;
}

function claimOf(signed: Event | null): AuthorClaim | null {
  if (signed?.signatures === undefined) return null;
  return { keyIds: signed.signatures.map((signature) => signature.keyId), actor: actorIdOf(signed) };
}

/** A submission of scheme `event` of what was just written. Whoever has it moves it, or lets it `own` its content, before anything else is written. */
export function writeSubmission(event: WrittenEvent, salts: SaltPool, hash: HashName): Submission {
  const digest = commitWritten(hash, event.written, salts);
  return Submission.ofWritten(event, { scheme: "event", hash, digest });
}

/** Computes the commitment of an encoded event. */
export function prepareSubmission(
  encoded: EncodedEvent,
  scheme: Scheme,
  salts: (count: number) => Uint8Array,
  hash: HashName,
): Submission {
  const { body } = encoded;
  // What no verifier would accept must not be written: control events are refused here, before they can do harm.
  if (scheme === "control") parseControlEvent(eventOf(encoded));
  if (scheme === "fields") {
    const { salts: all, digest } = commitEventFields(encoded, salts, hash);
    return Submission.ofText(encoded, { scheme, hash, digest }, all);
  }
  const salt = salts(1);
  const digest = commitBody(hash, scheme, salt, body);
  return Submission.ofText(encoded, { scheme, hash, digest }, salt);
}

function commitEventFields(
  encoded: EncodedEvent,
  salts: (count: number) => Uint8Array,
  hash: HashName,
): { salts: Uint8Array; digest: string } {
  const fields = cutBody(encoded.body);
  const all = salts(fields.length);
  const digests = fields.map((field, i) =>
    fieldDigest(hash, all.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES), field),
  );
  const names = fields.map((field) => field.name);
  return { salts: all, digest: commitFields(hash, names, digests) };
}
