import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { sourceFiles, sourcesDigest } from "./sources";

const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const page = readFileSync(`${root}/../bathyscope/web/static/page.html`, "utf8");

test("sources leave tests and installed packages out", () => {
  const files = sourceFiles(root);
  expect(files).toContain("src/main.ts");
  expect(files).toContain("package-lock.json");
  expect(files.filter((file) => file.includes("test") || file.includes("node_modules"))).toEqual([]);
  expect(sourcesDigest(root)).toMatch(/^[0-9a-f]{64}$/);
});

test("the policy names the only script of the page", () => {
  const scripts = [...page.matchAll(/<script>([\s\S]*?)<\/script>/g)].map((match) => match[1]!);
  expect(scripts).toHaveLength(1);
  expect(page).toContain(`'sha256-${createHash("sha256").update(scripts[0]!).digest("base64")}'`);
});
