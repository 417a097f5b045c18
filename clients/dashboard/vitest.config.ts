import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [react()],
  // Tests of parts of the page begin with a line that asks for jsdom; most need none.
  test: { environment: "node", include: ["tests/**/*.test.{ts,tsx}"], testTimeout: 30_000 },
});
