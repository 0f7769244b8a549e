import { defineConfig } from 'vitest/config';

// npm run package -- --check: not among npm test's, as it needs built packages and the network.
export default defineConfig({
  test: { include: ['test/package/**/*.test.ts'], testTimeout: 60_000, hookTimeout: 600_000, bail: 1 },
});
