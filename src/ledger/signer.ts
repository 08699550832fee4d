/** Port: a log key. It signs checkpoints, key events and manifests, never entries. Concurrent calls are allowed. */
export interface Signer {
  /** Log keys are `ed25519` (note type 0x01) or `ml-dsa-44` (note type 0x06). */
  readonly algorithm: "ed25519" | "ml-dsa-44";
  /** Raw public key: 32 or 1,312 bytes. */
  readonly publicKey: Uint8Array;
  /** Signature over `message` (at most 4,096 bytes): 64 or 2,420 bytes. Errors: `signer-unavailable`. */
  sign(message: Uint8Array): Promise<Uint8Array>;
}
