import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeBase64, encodeUtf8 } from "../core/encoding.ts";
import { sha256 } from "../core/hash.ts";
import { keyFromEnv, signerFromEnv } from "./env-signer.ts";
import { exportJwk, exportPem, exportPkcs8 } from "./key-export.ts";
import { logSignerFromFile } from "./key-file.ts";
import { generateLogKey, logSignerFromSeed } from "./local-signer.ts";

const signer = logSignerFromSeed("ed25519", sha256(encodeUtf8("env signer test")));
const mlDsa = logSignerFromSeed("ml-dsa-44", sha256(encodeUtf8("env signer test")));
let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tallystick-env-"));
  file = join(folder, "key.pem");
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("the log key in $TALLYSTICK_KEY", () => {
  it("is absent when the variable is unset or empty", () => {
    expect(signerFromEnv({})).toBeUndefined();
    expect(signerFromEnv({ TALLYSTICK_KEY: "  " })).toBeUndefined();
  });

  for (const key of [signer, mlDsa]) {
    const base64 = encodeBase64(exportPkcs8(key));
    const forms: [string, string][] = [
      ["PEM", exportPem(key)],
      ["PEM with \\n for line ends", exportPem(key).replaceAll("\n", "\\n")],
      ["PEM with CRLF", exportPem(key).replaceAll("\n", "\r\n")],
      ["a JWK", JSON.stringify(exportJwk(key))],
      ["base64 of PKCS#8", base64],
      ["base64 of PKCS#8 in lines", `\n${base64.replaceAll(/.{40}/g, "$&\n")}\n`],
    ];
    for (const [title, value] of forms) {
      it(`may be ${title} (${key.algorithm})`, () => {
        const loaded = keyFromEnv({ TALLYSTICK_KEY: value });
        expect(loaded?.signer.publicKey).toEqual(key.publicKey);
        expect(loaded?.warnings).toEqual([]);
      });
    }
  }

  it("may be the path of a file in any of the forms, and warns when others may read it", () => {
    for (const content of [exportPem(signer), JSON.stringify(exportJwk(signer)), exportPkcs8(signer)]) {
      writeFileSync(file, content);
      chmodSync(file, 0o600);
      const loaded = keyFromEnv({ TALLYSTICK_KEY: file });
      expect(loaded?.signer.publicKey).toEqual(signer.publicKey);
      expect(loaded?.warnings).toEqual([]);
    }
    chmodSync(file, 0o640);
    const warning = `key file ${file}: mode 0640 lets other users read it; chmod 600, and think about whether it was copied`;
    expect(keyFromEnv({ TALLYSTICK_KEY: file })?.warnings).toEqual([warning]);
    expect(logSignerFromFile(file).warnings).toEqual([warning]);
  });

  it("is opened with $TALLYSTICK_KEY_PASSPHRASE", () => {
    const value = exportPem(signer, { passphrase: "open sesame" });
    const env = { TALLYSTICK_KEY: value, TALLYSTICK_KEY_PASSPHRASE: "open sesame" };
    expect(signerFromEnv(env)?.publicKey).toEqual(signer.publicKey);
    for (const passphrase of [undefined, "", "open sesamE"]) {
      expect(() => signerFromEnv({ ...env, TALLYSTICK_KEY_PASSPHRASE: passphrase })).toThrow(
        expect.objectContaining({ code: "wrong-passphrase" }),
      );
    }
  });

  it("shows up in no error, whatever is wrong with it", () => {
    const secret = encodeBase64(exportPkcs8(generateLogKey()));
    const values = [
      secret.slice(0, -4),
      `${secret.slice(0, 20)}!${secret.slice(21)}`,
      secret.slice(1),
      `/${secret}`,
      `{"kty":"OKP","crv":"Ed25519","d":"${secret}"`,
      `{"kty":"OKP","crv":"Ed25519","d":"${secret}"}`,
      `{"kty":"EC","crv":"P-256","d":"${secret}","x":"AA","y":"AA"}`,
      `-----BEGIN PRIVATE KEY-----\n${secret.slice(4)}\n-----END PRIVATE KEY-----\n`,
      `-----BEGIN EC PRIVATE KEY-----\n${secret}\n-----END EC PRIVATE KEY-----\n`,
      `-----BEGIN OPENSSH PRIVATE KEY-----\n${secret}\n-----END OPENSSH PRIVATE KEY-----\n`,
    ];
    for (const value of values) {
      let caught: unknown;
      try {
        signerFromEnv({ TALLYSTICK_KEY: value });
      } catch (error) {
        caught = error;
      }
      expect(caught, value).toMatchObject({ code: expect.stringMatching(/^(malformed-key|key-unreadable)$/) });
      const shown = inspect(caught, { depth: 10 }) + JSON.stringify(caught);
      // Any eight characters in a row of the secret part would give it away.
      for (let i = 20; i + 8 <= secret.length - 4; i++) expect(shown).not.toContain(secret.slice(i, i + 8));
    }
  });

  it("is key-unreadable when it names no file", () => {
    expect(() => signerFromEnv({ TALLYSTICK_KEY: join(folder, "none.pem") })).toThrow(
      expect.objectContaining({
        code: "key-unreadable",
        message: "the file that TALLYSTICK_KEY names: cannot be read (ENOENT)",
      }),
    );
    expect(() => logSignerFromFile(folder)).toThrow(
      expect.objectContaining({ code: "key-unreadable", message: `key file ${folder}: cannot be read (EISDIR)` }),
    );
  });
});
