import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const PAGE = "../../src/acie/serving/page";

/** Writes NAME.gz beside every asset: the service sends those to whoever takes them. */
function packed(): Plugin {
  return {
    name: "acie-packed",
    apply: "build",
    closeBundle() {
      const folder = join(PAGE, "assets");
      for (const name of readdirSync(folder)) {
        if (!/\.(js|css|svg)$/.test(name)) continue;
        writeFileSync(join(folder, `${name}.gz`), gzipSync(readFileSync(join(folder, name)), { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  base: "/dashboard/",
  plugins: [react(), packed()],
  // The service puts a fresh number in its place in every answer.
  html: { cspNonce: "__CSP_NONCE__" },
  build: {
    chunkSizeWarningLimit: 900,
    outDir: PAGE,
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    // An inlined data: URL would need a wider Content-Security-Policy.
    assetsInlineLimit: 0,
    manifest: "manifest.json",
  },
  server: { proxy: { "/api": "http://127.0.0.1:8080", "/health": "http://127.0.0.1:8080" } },
});
