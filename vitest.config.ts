import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const conditions = ["tallystick-source", "node"];

// Tests run on the sources. Two files at a time even on two cores: the main process is idle while they run. Tests that
// measure time, or that keep every core busy themselves, are named *.serial.test.ts and run alone, after the rest.
const serial = ["src/**/*.serial.test.ts", "test/**/*.serial.test.ts"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    pool: "forks",
    // Not a measure of speed: it ends what hangs, on a machine however busy.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
    maxWorkers: Math.max(2, availableParallelism()),
    projects: [
      {
        extends: true,
        test: {
          name: "parallel",
          include: ["src/**/*.test.ts", "test/**/*.test.ts", "scripts/**/*.test.mjs", "bench/**/*.test.mjs"],
          exclude: [...serial, "**/node_modules/**"],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "serial",
          include: serial,
          exclude: ["**/node_modules/**"],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
