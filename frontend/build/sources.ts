// The sum over the page's sources that the build records, so that a stale build can be told without Node.
// tests/web/test_static.py computes the same sum in Python.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FILES = [
  "index.html",
  "package-lock.json",
  "package.json",
  "svelte.config.js",
  "tsconfig.json",
  "vite.config.ts",
];
const FOLDERS = ["build", "src"];

/** Paths, relative to the front end's folder, of every file that decides the build; tests are left out. */
export function sourceFiles(root: string): string[] {
  const inside = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith(".test.ts"))
      .map((entry) =>
        join(entry.parentPath, entry.name)
          .slice(root.length + 1)
          .replaceAll("\\", "/"),
      ),
  );
  return [...FILES, ...inside].sort();
}

/** sha256 over (path, NUL, content, NUL) of every source file, in order of the path. */
export function sourcesDigest(root: string): string {
  const sum = createHash("sha256");
  for (const file of sourceFiles(root)) {
    sum
      .update(file)
      .update("\0")
      .update(readFileSync(join(root, file)))
      .update("\0");
  }
  return sum.digest("hex");
}
