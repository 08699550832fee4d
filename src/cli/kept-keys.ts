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
  const kept = keptName(state, origin, signer);
  if (kept !== null) return kept;
  const name = `key-${encodeHex(signer.publicKey).slice(0, NAME_DIGITS)}`;
  state.writeKey(origin, exportPem(signer), name);
  return name;
}

/** Name under which the state directory has a key already; null where it has it not. */
export function keptName(state: State, origin: string, signer: Signer): string | null {
  const name = state.listKeys(origin).find((each) => {
    const pem = state.readKey(origin, each);
    return pem !== undefined && isSameKey(logSignerFromPem(pem), signer);
  });
  return name ?? null;
}

function isSameKey(a: Signer, b: Signer): boolean {
  return a.algorithm === b.algorithm && bytesEqual(a.publicKey, b.publicKey);
}
