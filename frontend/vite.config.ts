import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";
import { singleFile } from "./build/single-file";

const root = import.meta.dirname;

export default defineConfig({
  root,
  plugins: [svelte(), singleFile(root)],
  build: {
    target: "es2022",
    outDir: "../bathyscope/web/static",
    emptyOutDir: true,
    modulePreload: false,
    assetsInlineLimit: 1_000_000,
    cssCodeSplit: false,
    lib: { entry: "src/main.ts", formats: ["iife"], name: "bathyscope" },
  },
  test: { include: ["src/**/*.test.ts", "build/**/*.test.ts"] },
});
