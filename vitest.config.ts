import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { conditions: ["tallystick-source", "node"] },
  ssr: { resolve: { conditions: ["tallystick-source", "node"] } },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    testTimeout: 30_000,
    pool: "forks",
  },
});
