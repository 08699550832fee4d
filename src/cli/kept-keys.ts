import { bytesEqual, encodeHex } from "../core/encoding.ts";
import { exportPem, isLocalSigner, logSignerFromPem, type Signer, type State } from "../keys/index.ts";

/** Enough of a public key that two of one ledger never meet. */
const NAME_DIGITS = 16;

/**
 * Stores a log key in the state directory under a name of its own, and returns that name; null for a signer whose secret is
 * elsewhere. A key that is there already, under whatever name, is left alone.
 */
export function keepKey(state: State, origin: string, signer: Signer): string | null {
  if (!isLocalSigner(signer)) return null;
  const kept = state.listKeys(origin).find((name) => {
    const pem = state.readKey(origin, name);
    return pem !== undefined && isSameKey(logSignerFromPem(pem), signer);
  });
  if (kept !== undefined) return kept;
  const name = `key-${encodeHex(signer.publicKey).slice(0, NAME_DIGITS)}`;
  state.writeKey(origin, exportPem(signer), name);
  return name;
}

function isSameKey(a: Signer, b: Signer): boolean {
  return a.algorithm === b.algorithm && bytesEqual(a.publicKey, b.publicKey);
}
