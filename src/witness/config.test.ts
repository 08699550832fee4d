import { describe, expect, it } from "vitest";
import { formatVerifierKey } from "../core/note.ts";
import { generateLogKey } from "../keys/index.ts";
import { parseListen, parseWitnessConfig } from "./config.ts";

const { publicKey } = generateLogKey();
const pq = generateLogKey("ml-dsa-44").publicKey;
const vkey = formatVerifierKey({ name: "log.test/a", type: 1, publicKey });
const pqVkey = formatVerifierKey({ name: "log.test/a", type: 6, publicKey: pq });
const base = {
  name: "witness.test/w",
  key: "w.pem",
  database: "w.sqlite",
  logs: { "log.test/a": [vkey] },
};

describe("configuration of a witness", () => {
  it("has defaults for all but name, key, database and logs", () => {
    expect(parseWitnessConfig(JSON.stringify(base))).toMatchObject({
      name: "witness.test/w",
      keys: ["w.pem"],
      database: "w.sqlite",
      archive: null,
      listen: "127.0.0.1:7380",
      url: null,
      requestsPerMinute: 600,
      refusalsPerMinute: 600,
      addressHeader: null,
    });
  });

  it("takes everything that can be set", () => {
    const all = {
      ...base,
      additionalKey: "pq.pem",
      archive: "/mnt/other/w.sqlite",
      listen: "[::1]:80",
      url: "https://witness.test/sub",
      logs: { "log.test/a": [vkey, pqVkey], "another log": [vkey] },
      requestsPerMinute: 1,
      refusalsPerMinute: 2,
      addressHeader: "x-forwarded-for",
    };
    const config = parseWitnessConfig(new TextEncoder().encode(JSON.stringify(all)));
    const { additionalKey, logs, key, ...same } = all;
    expect(config).toMatchObject({ ...same, keys: [key, additionalKey] });
    expect([...config.logs].map(([origin, keys]) => [origin, keys.map((each) => each.vkey)])).toEqual(
      Object.entries(logs),
    );
  });

  it.each([
    ["", [], "expected an object"],
    ["/name", { ...base, name: undefined }, "expected it to be present"],
    ["/name", { ...base, name: "" }, "expected at least one character"],
    ["/name", { ...base, name: "a b" }, "expected a key name"],
    ["/name", { ...base, name: "a+b" }, "expected a key name"],
    ["/key", { ...base, key: 7 }, "expected a string"],
    ["/database", { ...base, database: "a\nb" }, "expected no control characters"],
    ["/databse", { ...base, databse: "x" }, 'unknown member; did you mean "database"?'],
    ["/listen", { ...base, listen: "7380" }, "expected HOST:PORT"],
    ["/listen", { ...base, listen: "a:65536" }, "expected HOST:PORT"],
    ["/url", { ...base, url: "ftp://a" }, "expected an http or https URL"],
    ["/logs", { ...base, logs: [vkey] }, "expected an object"],
    ["/logs/log.test~1a", { ...base, logs: { "log.test/a": vkey } }, "expected an array"],
    ["/logs/log.test~1a", { ...base, logs: { "log.test/a": [] } }, "expected 1 to 16 items"],
    ["/logs/log.test~1a/0", { ...base, logs: { "log.test/a": ["x"] } }, "verifier key: expected"],
    ["/logs/log.test~1a/1", { ...base, logs: { "log.test/a": [vkey, vkey.slice(0, -4)] } }, "verifier key"],
    ["/logs/log.test~1a", { ...base, logs: { "log.test/a": [vkey, vkey] } }, "expected keys that differ"],
    [
      "/logs/a/0",
      { ...base, logs: { a: [formatVerifierKey({ name: "a", type: 4, publicKey })] } },
      "got that of a witness (type 4)",
    ],
    ["/logs/", { ...base, logs: { "": [vkey] } }, "expected at least one character"],
    ["/requestsPerMinute", { ...base, requestsPerMinute: 0 }, "expected an integer of 1 to 1000000"],
    ["/refusalsPerMinute", { ...base, refusalsPerMinute: "9" }, "expected an integer"],
    ["/addressHeader", { ...base, addressHeader: "a b" }, "expected the name of a header"],
  ])("names the member that is wrong: %s (%#)", (pointer, value, message) => {
    expect(() => parseWitnessConfig(JSON.stringify(value))).toThrow(
      expect.objectContaining({
        code: "malformed-config",
        message: expect.stringContaining(message),
        details: expect.objectContaining({ pointer }),
      }),
    );
  });

  it.each([
    ["{", "malformed-json"],
    ['{"name":"a","name":"b"}', "duplicate-member"],
    [`{"logs":{"log.test/a":["${vkey}"],"log.test/a":["${vkey}"]}}`, "duplicate-member"],
  ])("refuses what two readers could read differently: %s", (text, code) => {
    expect(() => parseWitnessConfig(text)).toThrow(expect.objectContaining({ code }));
  });
});

describe("an address to listen at", () => {
  it.each([
    ["127.0.0.1:0", { host: "127.0.0.1", port: 0 }],
    ["localhost:65535", { host: "localhost", port: 65_535 }],
    ["[::1]:80", { host: "::1", port: 80 }],
    ["::1:80", undefined],
    [":80", undefined],
    ["a:08", undefined],
    ["a:65536", undefined],
    ["a b:80", undefined],
  ])("%s", (text, expected) => {
    expect(parseListen(text)).toEqual(expected);
  });
});
