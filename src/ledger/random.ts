/** Port: cryptographic randomness; injected so that a seed makes a ledger byte-identical. */
export interface Random {
  /** Fills and returns `bytes`. */
  fill(bytes: Uint8Array): Uint8Array;
}

export const systemRandom: Random = {
  fill: (bytes) => {
    // The Web Crypto call is limited to 65,536 bytes.
    for (let i = 0; i < bytes.length; i += 65_536)
      crypto.getRandomValues(bytes.subarray(i, i + 65_536) as Uint8Array<ArrayBuffer>);
    return bytes;
  },
};
