import type { Signer } from "../ledger/signer.ts";
import { logSignerFromPem } from "./local-signer.ts";
import type { State } from "./state-directory.ts";

/** Keys that the state directory holds for a ledger, retired ones too. Errors: those of `logSignerFromPem` for a damaged one. */
export function heldSigners(state: State, origin: string): Signer[] {
  return state
    .listKeys(origin)
    .map((name) => state.readKey(origin, name))
    .filter((pem) => pem !== undefined)
    .map((pem) => logSignerFromPem(pem));
}
