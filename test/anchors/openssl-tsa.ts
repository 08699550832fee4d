import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Loopback, serve } from "./loopback.ts";
import { runOk } from "./peers.ts";

export interface OpensslTsa extends Loopback {
  readonly folder: string;
  /** PEM files. */
  readonly rootFile: string;
  readonly chainFile: string;
}

export type TsaKey = "p256" | "p384" | "rsa";

const CONFIG = `
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[middle]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
serial = serial
crypto_device = builtin
digests = sha256,sha384,sha512
default_policy = 1.3.6.1.4.1.99999.1
other_policies = 1.3.6.1.4.1.99999.2
accuracy = secs:1, millisecs:500, microsecs:100
clock_precision_digits = 3
ordering = yes
tsa_name = yes
ess_cert_id_chain = yes
ess_cert_id_alg = sha256
`;

/** A time-stamping authority whose tokens OpenSSL makes, behind HTTP: root, intermediate, authority, all of one kind of key. */
export async function startOpensslTsa(key: TsaKey): Promise<OpensslTsa> {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-tsa-"));
  const openssl = (...args: string[]): Promise<unknown> => runOk("openssl", args, folder);
  writeFileSync(join(folder, "tsa.cnf"), CONFIG);
  writeFileSync(join(folder, "serial"), "01\n");
  const algorithm =
    key === "rsa"
      ? ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
      : ["EC", "-pkeyopt", `ec_paramgen_curve:P-${key.slice(1)}`];
  for (const name of ["root", "middle", "leaf"]) {
    await openssl("genpkey", "-algorithm", ...algorithm, "-out", `${name}.key`);
    const subject = ["-subj", `/O=Tests/CN=${name} ${key}`, "-config", "tsa.cnf"];
    if (name === "root") {
      await openssl(
        "req",
        "-new",
        "-x509",
        "-key",
        "root.key",
        "-out",
        "root.pem",
        "-days",
        "30",
        "-extensions",
        "root",
        ...subject,
      );
      continue;
    }
    const issuer = name === "middle" ? "root" : "middle";
    await openssl("req", "-new", "-key", `${name}.key`, "-out", `${name}.csr`, ...subject);
    const extensions = ["-extfile", "tsa.cnf", "-extensions", name, "-days", "20"];
    await openssl(
      "x509",
      "-req",
      "-in",
      `${name}.csr`,
      "-CA",
      `${issuer}.pem`,
      "-CAkey",
      `${issuer}.key`,
      "-out",
      `${name}.pem`,
      "-CAcreateserial",
      ...extensions,
    );
  }
  let queue: Promise<unknown> = Promise.resolve();
  const server = await serve(async (_request, body, response) => {
    // OpenSSL's serial file knows no lock.
    const answered = queue.then(async () => {
      writeFileSync(join(folder, "query"), body);
      await openssl(
        "ts",
        "-reply",
        "-config",
        "tsa.cnf",
        "-section",
        "tsa",
        "-queryfile",
        "query",
        "-signer",
        "leaf.pem",
        "-inkey",
        "leaf.key",
        "-chain",
        "middle.pem",
        "-sha256",
        "-out",
        "reply",
      );
      return readFileSync(join(folder, "reply"));
    });
    queue = answered.catch(() => undefined);
    response.setHeader("content-type", "application/timestamp-reply");
    response.end(await answered);
  });
  return {
    ...server,
    ...{ folder, rootFile: join(folder, "root.pem"), chainFile: join(folder, "middle.pem") },
    async close() {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
