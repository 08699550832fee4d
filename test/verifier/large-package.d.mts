export declare function largePackage(count: number): {
  readonly bytes: Buffer;
  readonly policy: string;
  readonly exportBytes: Buffer;
};
