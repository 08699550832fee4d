/** Port: what this machine remembers about ledgers, outside of them. Implemented by keys/state-directory.ts. */
export interface ReaderState {
  /** Latest checkpoint note of this origin that a reader here accepted and chose to remember. */
  lastSeen(origin: string): Promise<string | undefined> | string | undefined;
  /** Remembers a checkpoint; an older one than known is ignored. */
  rememberCheckpoint(origin: string, note: string): Promise<void> | void;
  /** Policy written when the ledger was created here. */
  readPolicy(origin: string): Promise<string | undefined> | string | undefined;
  writeVerification(origin: string, record: VerificationRecord): Promise<void> | void;
  readVerification(origin: string): Promise<VerificationRecord | undefined> | VerificationRecord | undefined;
}

/** When the ledger was last verified here, and with what result. */
export interface VerificationRecord {
  readonly time: string;
  readonly size: number;
  readonly root: string | null;
  readonly ok: boolean;
  readonly conclusive: boolean;
  readonly findings: number;
}
