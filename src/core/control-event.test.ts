import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  CONTROL_ACTIONS,
  type ControlEvent,
  idDigest,
  idGuard,
  isControlAction,
  keyEventMessage,
  parseControlEvent,
  signedIdDigest,
} from "./control-event.ts";
import { decodeHex, encodeHex } from "./encoding.ts";
import { MalformedError } from "./errors.ts";
import { encodeEvent, parseEvent } from "./event.ts";

interface Vectors {
  readonly valid: readonly { readonly body: string }[];
  readonly invalid: readonly { readonly body: string; readonly pointer: string }[];
  readonly keyMessage: {
    readonly origin: string;
    readonly index: number;
    readonly previous: string;
    readonly body: string;
    readonly message: string;
  };
  readonly ids: Readonly<
    Record<"genesisLeaf" | "id" | "salt" | "keyId" | "idDigest" | "idGuard" | "signedIdDigest", string>
  >;
}

const vectors = JSON.parse(
  readFileSync(new URL("../../vectors/control-events.json", import.meta.url), "utf8"),
) as Vectors;

const shown = <T extends { readonly body: string }>(vector: T): T & { shown: string } => ({
  ...vector,
  shown: vector.body.slice(10, 90),
});
const bytes = (hex: string): Uint8Array => decodeHex(hex, { code: "malformed-control" });

describe("parseControlEvent", () => {
  it.each(vectors.valid.map(shown))("accepts $shown", ({ body }) => {
    const control: ControlEvent = parseControlEvent(parseEvent(body));
    expect(control).toEqual(JSON.parse(body));
    expect(encodeEvent(control, { control: true }).body).toBe(body);
  });

  it("has a valid vector for every action", () => {
    expect([...new Set(vectors.valid.map(({ body }) => parseEvent(body).action))]).toEqual(CONTROL_ACTIONS);
  });

  it.each(vectors.invalid.map(shown))("refuses $pointer of $shown", ({ body, pointer }) => {
    try {
      parseControlEvent(parseEvent(body));
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      expect({ code: error.code, pointer: error.details.pointer }).toEqual({ code: "malformed-control", pointer });
      return;
    }
    throw new Error("accepted");
  });

  it("takes erasures of 10,000 entries and no more", () => {
    const erasure = (entries: number) => ({
      action: "ledger.erasure",
      payload: {
        entries: Array.from({ length: entries }, (_, index) => ({ index, leaf: "ab".repeat(32) })),
        reason: "request",
      },
    });
    expect(parseControlEvent(erasure(10_000)).action).toBe("ledger.erasure");
    expect(() => parseControlEvent(erasure(10_001))).toThrow("/payload/entries: expected 1 to 10000 items, got 10001");
  });

  it("guesses what a misspelt member was meant to be", () => {
    const event = parseEvent('{"action":"ledger.hold.released","payload":{"hold":"a","reson":"b"}}');
    expect(() => parseControlEvent(event)).toThrow('/payload/reson: unknown member; did you mean "reason"?');
  });
});

describe("isControlAction", () => {
  it("knows the eleven actions and no others", () => {
    expect(CONTROL_ACTIONS).toHaveLength(11);
    for (const action of CONTROL_ACTIONS) expect(isControlAction(action)).toBe(true);
    for (const action of ["ledger.import", "ledger.access", "ledger", "ledger.genesis.x", "constructor", ""]) {
      expect(isControlAction(action)).toBe(false);
    }
  });
});

describe("key event message", () => {
  const { origin, index, previous, body, message } = vectors.keyMessage;
  const event = parseEvent(body);
  const parts = { origin, action: event.action, index, previous, event };

  it("is the text of the vector, whatever the signatures", () => {
    expect(keyEventMessage(parts)).toBe(message);
    const { signatures: _signatures, ...unsigned } = event;
    expect(keyEventMessage({ ...parts, event: unsigned })).toBe(message);
  });

  it("changes with the ledger, the action, the place and the content", () => {
    const others = [
      { ...parts, origin: "example.com/other" },
      { ...parts, action: "ledger.key.added" },
      { ...parts, index: 8 },
      { ...parts, previous: "cd".repeat(32) },
      { ...parts, event: { ...event, actor: "mallory" } },
    ];
    expect(new Set([message, ...others.map(keyEventMessage)]).size).toBe(6);
  });
});

describe("digests of ids", () => {
  const { genesisLeaf, id, salt, keyId } = vectors.ids;

  it("are those of the vector", () => {
    expect(encodeHex(idDigest(genesisLeaf, id))).toBe(vectors.ids.idDigest);
    expect(idGuard(bytes(salt), bytes(vectors.ids.idDigest))).toBe(vectors.ids.idGuard);
    expect(signedIdDigest(keyId, id)).toBe(vectors.ids.signedIdDigest);
  });

  it("are those of the specification", () => {
    const digest = idDigest("dbb6a64ae45890d61bcfaeb38f5f5cb6255007b5348d17bd071bde4aa360e053", "evt-1");
    expect(encodeHex(digest)).toBe("4ab9f176783a15791c3db88f3edf03228a493ecd71cbaf2abf3fe2ae4c0be23a");
    expect(idGuard(bytes("c491e3684686de5e7f5bde39f85792d3"), digest)).toBe(
      "6e7bb28640e1c5ea303aa3893453211bd9f20e316a741b5332562de6b8d164f1",
    );
    expect(signedIdDigest("b1da4f104b350a7412e3126f064fd73697ba152aeb44f86c42138f8c171e919b", "evt-1")).toBe(
      "63ddd5bc0910681ff3f2ba3ae0bf43d54646fbd4c58f5a223431f06684a94a7f",
    );
  });

  it("take salts of 16 and digests of 32 bytes", () => {
    expect(() => idGuard(new Uint8Array(15), new Uint8Array(32))).toThrow(
      new RangeError("idGuard: expected a salt of 16 bytes, got 15"),
    );
    expect(() => idGuard(new Uint8Array(16), new Uint8Array(31))).toThrow(
      new RangeError("idGuard: expected a digest of 32 bytes, got 31"),
    );
  });
});
