import { type Checkpoint, parseCheckpoint } from "../core/checkpoint.ts";
import {
  bytesEqual,
  decodeBase64,
  decodeUtf8,
  encodeBase64,
  encodeHex,
  encodeUtf8,
  parseDecimal,
} from "../core/encoding.ts";
import { isTallystickError, MalformedError, PolicyError, UnavailableError } from "../core/errors.ts";
import { sha256 } from "../core/hash.ts";
import { CONSISTENCY_HASHES_MAX } from "../core/limits.ts";
import { EMPTY_ROOT } from "../core/merkle.ts";
import {
  cosignNote,
  formatNote,
  type NoteSigner,
  noteKeyId,
  parseNote,
  type SignedNote,
  type VerifierKey,
  verifyNote,
} from "../core/note.ts";
import { verifyConsistency } from "../core/proof.ts";
import type { WitnessEvidence, WitnessedHead, WitnessStore } from "./witness-store.ts";

/**
 * A C2SP tlog-witness: cosigns the checkpoints of the logs it knows, and never two of one log that are not consistent. A
 * web-standard handler, so that it runs on any server. Source: C2SP tlog-witness and tlog-cosignature.
 */
export interface WitnessServer {
  /** Name in its cosignatures. */
  readonly name: string;
  fetch(request: Request): Promise<Response>;
}

export interface WitnessServerOptions {
  /** Key name of the witness: its own, shared with no log and no other witness. */
  readonly name: string;
  readonly signer: NoteSigner;
  /** Keys that cosign beside it under the same name, such as ML-DSA-44. */
  readonly additionalSigners?: readonly NoteSigner[];
  /** Keys of each known log, by origin. */
  readonly logs: ReadonlyMap<string, readonly VerifierKey[]>;
  readonly store: WitnessStore;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Requests a minute of one log that get further than its signature; more are answered 429. Default 600. */
  readonly requestsPerMinute?: number;
  /** Told when a log showed two heads that contradict each other; both are in the store. */
  readonly onEvidence?: (evidence: WitnessEvidence) => void;
}

/** 63 hash lines, a note with 16 ML-DSA-44 lines and room to spare. */
export const REQUEST_BYTES_MAX: number = 128 * 1024;
/** A signer takes 4,096 bytes, and the message of a cosignature is a little longer than the text. Three lines take 320. */
const TEXT_BYTES_MAX = 4_000;
const MINUTE_MS = 60_000;
/** C2SP tlog-witness lets the monitoring endpoint be an hour behind; reading it must not cost a signature each time. */
const SHOWN_FOR_MS = 60_000;

type Reply = readonly [status: number, body: string, contentType?: string];

/** Errors: `key-role` when the witness has the key or the name of a log that it knows. */
export function createWitness(options: WitnessServerOptions): WitnessServer {
  return new Witness(options);
}

class Witness implements WitnessServer {
  readonly name: string;
  private readonly options: WitnessServerOptions;
  private readonly now: () => number;
  /** Origin by the hex SHA-256 that stands in the monitoring path. */
  private readonly origins: ReadonlyMap<string, string>;
  private readonly budgets = new Map<string, { minute: number; used: number }>();
  private readonly signers: readonly NoteSigner[];
  /** Own lines over what was stored last, by origin. */
  private readonly shown = new Map<string, { readonly text: string; readonly lines: string; readonly atMs: number }>();

  constructor(options: WitnessServerOptions) {
    this.name = options.name;
    this.options = options;
    this.signers = [options.signer, ...(options.additionalSigners ?? [])];
    this.now = options.now ?? Date.now;
    this.origins = new Map([...options.logs.keys()].map((origin) => [encodeHex(sha256(encodeUtf8(origin))), origin]));
    // A key in two roles would let a log's own signature pass for a cosignature.
    const own = new Set(this.signers.map((signer) => encodeHex(signer.publicKey)));
    for (const keys of options.logs.values()) {
      if (keys.some((key) => own.has(encodeHex(key.publicKey))))
        throw new PolicyError("key-role", "the witness key is also a log key");
    }
    if (options.logs.has(options.name)) throw new PolicyError("key-role", "the witness has the name of a log");
  }

  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const monitored = /^(?:\/[^?]*)?\/([0-9a-f]{64})\/checkpoint$/.exec(pathname)?.[1];
    if (monitored !== undefined) return request.method === "GET" ? this.show(monitored) : respond([405, "use GET\n"]);
    if (!pathname.endsWith("/add-checkpoint")) return respond([404, "not found\n"]);
    if (request.method !== "POST") return respond([405, "use POST\n"]);
    try {
      return respond(await this.addCheckpoint(await readBody(request)));
    } catch (error) {
      if (error instanceof Refusal) return respond(error.reply);
      // Nothing was cosigned: the log asks again.
      if (error instanceof UnavailableError) return respond([503, "not able to store or sign at the moment\n"]);
      throw error;
    }
  }

  /** The monitoring endpoint: what this witness last cosigned, with its own line over it. */
  private async show(digest: string): Promise<Response> {
    const origin = this.origins.get(digest);
    const head = origin === undefined ? undefined : this.options.store.head(origin);
    if (origin === undefined || head === undefined) return respond([404, "never cosigned\n"]);
    const { text } = parseNote(head.note);
    const known = this.shown.get(origin);
    const isFresh = known?.text === text && this.now() - known.atMs < SHOWN_FOR_MS;
    const lines = isFresh ? known.lines : await this.cosign(origin, text);
    return respond([200, head.note + lines]);
  }

  /** The decision table of tlog-witness, in its order. */
  private async addCheckpoint(body: Uint8Array): Promise<Reply> {
    const { oldSize, proof, note, checkpoint, noteBytes } = parseRequest(body);
    const { origin, size, root } = checkpoint;
    const keys = this.options.logs.get(origin);
    if (keys === undefined) return [404, "unknown log\n"];
    if (note === null) return [hasLineOf(noteBytes, keys) ? 403 : 400, "the note does not parse\n"];
    if (encodeUtf8(note.text).length > TEXT_BYTES_MAX) return [400, "the text of the checkpoint is too long\n"];
    const lines = await this.logLines(note, keys);
    if (lines === null) return [403, "no valid signature by a known key of this log\n"];
    if (!this.withinBudget(origin)) return [429, "too many requests for this log\n"];
    if (oldSize > size) return [400, "old size is larger than the checkpoint\n"];
    const head = this.options.store.head(origin);
    if (oldSize !== (head?.size ?? 0)) return conflict(head);
    const refusal = this.inconsistency(checkpoint, oldSize, proof, head);
    if (refusal !== null) {
      if (head !== undefined && refusal.evidence) this.keepEvidence(origin, head, decodeUtf8(noteBytes), proof);
      return [422, `${refusal.reason}\n`];
    }
    const stored = await this.options.store.update(origin, head, { size, root, note: formatNote(note.text, lines) });
    // Somebody else was quicker between the look above and the lock.
    if (!stored.stored) return conflict(stored.head);
    return [200, await this.cosign(origin, note.text)];
  }

  /** The log's own lines if all of them verify; null otherwise. */
  private async logLines(note: SignedNote, keys: readonly VerifierKey[]): Promise<string[] | null> {
    try {
      return (await verifyNote(note, keys)).map((signature) => signature.line);
    } catch (error) {
      if (isTallystickError(error)) return null;
      throw error;
    }
  }

  private inconsistency(
    next: Checkpoint,
    oldSize: number,
    proof: readonly Uint8Array[],
    head: WitnessedHead | undefined,
  ): { readonly reason: string; readonly evidence: boolean } | null {
    const { size, root } = next;
    if (size === 0 && !bytesEqual(root, EMPTY_ROOT))
      return { reason: "the root of an empty tree is another", evidence: false };
    if (oldSize === 0) return proof.length === 0 ? null : { reason: "a proof from size 0 is empty", evidence: false };
    if (head === undefined) return { reason: "nothing was cosigned before", evidence: false };
    if (oldSize === size) {
      if (!bytesEqual(root, head.root)) return { reason: "another root was cosigned for this size", evidence: true };
      return proof.length === 0 ? null : { reason: "a proof between equal sizes is empty", evidence: false };
    }
    try {
      verifyConsistency({ oldSize, oldRoot: head.root, newSize: size, newRoot: root, proof });
      return null;
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return { reason: "the consistency proof does not verify", evidence: proof.length > 0 };
    }
  }

  private keepEvidence(origin: string, head: WitnessedHead, offered: string, proof: readonly Uint8Array[]): void {
    const time = Math.floor(this.now() / 1_000);
    const evidence = { origin, time, held: head.note, offered, proof: proof.map(encodeBase64).join("\n") };
    this.options.store.keepEvidence(evidence);
    this.options.onEvidence?.(evidence);
  }

  /** Own lines over what the store holds: never called before the store has it. */
  private async cosign(origin: string, text: string): Promise<string> {
    const atMs = this.now();
    const time = Math.floor(atMs / 1_000);
    const lines = await Promise.all(this.signers.map((signer) => cosignNote(text, this.name, signer, { time })));
    const joined = lines.join("");
    this.shown.set(origin, { text, lines: joined, atMs });
    return joined;
  }

  private withinBudget(origin: string): boolean {
    const minute = Math.floor(this.now() / MINUTE_MS);
    const budget = this.budgets.get(origin);
    if (budget?.minute !== minute) {
      this.budgets.set(origin, { minute, used: 1 });
      return true;
    }
    budget.used += 1;
    return budget.used <= (this.options.requestsPerMinute ?? 600);
  }
}

/** Thrown where a request is not worth reading further. */
class Refusal extends Error {
  readonly reply: Reply;
  constructor(reply: Reply) {
    super(reply[1]);
    this.reply = reply;
  }
}

function conflict(head: WitnessedHead | undefined): Reply {
  return [409, `${head?.size ?? 0}\n`, "text/x.tlog.size"];
}

function respond([status, body, contentType = "text/plain; charset=utf-8"]: Reply): Response {
  return new Response(body, { status, headers: { "content-type": contentType, "cache-control": "no-store" } });
}

/** Reads at most the bound, whatever the request says of its length. */
async function readBody(request: Request): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > REQUEST_BYTES_MAX) throw new Refusal([413, "the request is too large\n"]);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

interface AddCheckpointRequest {
  readonly oldSize: number;
  readonly proof: readonly Uint8Array[];
  readonly noteBytes: Uint8Array;
  /** Null when only the text of the note could be read: enough to say whose it is. */
  readonly note: SignedNote | null;
  readonly checkpoint: Checkpoint;
}

/** `old <size>`, at most 63 hash lines, an empty line, the note. */
function parseRequest(body: Uint8Array): AddCheckpointRequest {
  try {
    const text = decodeUtf8(body, "malformed-note");
    const blank = text.indexOf("\n\n");
    if (blank < 0) throw new MalformedError("malformed-note", "expected an empty line before the note");
    const [first = "", ...hashes] = text.slice(0, blank).split("\n");
    if (!first.startsWith("old ")) throw new MalformedError("malformed-proof", "expected the old size");
    if (hashes.length > CONSISTENCY_HASHES_MAX)
      throw new MalformedError("malformed-proof", `expected at most ${CONSISTENCY_HASHES_MAX} hashes`);
    const proof = hashes.map((line) => {
      const hash = decodeBase64(line, "malformed-proof");
      if (hash.length !== 32) throw new MalformedError("malformed-proof", "expected hashes of 32 bytes");
      return hash;
    });
    const oldSize = parseDecimal(first.slice("old ".length), "malformed-proof");
    const noteBytes = encodeUtf8(text.slice(blank + 2));
    return { oldSize, proof, noteBytes, ...readNote(noteBytes) };
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    throw new Refusal([400, `${error.message}\n`]);
  }
}

function readNote(noteBytes: Uint8Array): { readonly note: SignedNote | null; readonly checkpoint: Checkpoint } {
  try {
    const note = parseNote(noteBytes);
    return { note, checkpoint: parseCheckpoint(note.text) };
  } catch (error) {
    // A signature line that is no base64 spoils the note, but its text may still name a log that is known.
    const text = decodeUtf8(noteBytes, "malformed-note");
    const end = text.lastIndexOf("\n\n");
    if (end < 0) throw error;
    return { note: null, checkpoint: parseCheckpoint(text.slice(0, end + 1)) };
  }
}

/** True when a note that does not parse carries a line that claims to be by one of the keys: then that signature is bad. */
function hasLineOf(noteBytes: Uint8Array, keys: readonly VerifierKey[]): boolean {
  const lines = decodeUtf8(noteBytes, "malformed-note").split("\n");
  return keys.some((key) => {
    const id = new Uint8Array(4);
    new DataView(id.buffer).setUint32(0, noteKeyId(key.name, key.type, key.publicKey));
    // The first 5 base64 digits hold 30 bits of the key ID.
    const prefix = `— ${key.name} ${encodeBase64(id).slice(0, 5)}`;
    return lines.some((line) => line.startsWith(prefix));
  });
}
