import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { contrast } from "../scale";

const css = readFileSync(new URL("page.css", import.meta.url), "utf8");
const colours = (block: string) =>
  Object.fromEntries([...block.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map((m) => [m[1], m[2]]));
const light = colours(css.slice(css.indexOf(":root {"), css.indexOf("}")));
const dark = { ...light, ...colours(css.slice(css.indexOf('[data-theme="dark"]'))) };

const TEXT = ["ink", "ink-2", "ink-3", "deep", "null", "lamp", "good"];
const SURFACES = ["ground", "surface", "raised"];
const SPECIAL: [string, string][] = [
  ["ink", "deep-soft"],
  ["ink-2", "deep-soft"],
  ["deep", "deep-soft"],
  ["ink", "lamp-soft"],
  ["band-ink", "band"],
  ["band-ink-2", "band"],
  ["surface", "ink"],
];

test.each([
  ["light", light],
  ["dark", dark],
] as [string, Record<string, string>][])(
  "every text colour of the %s theme reaches the AA contrast",
  (_name, theme) => {
    const pairs = [
      ...TEXT.flatMap((text) => SURFACES.map((surface) => [text, surface] as [string, string])),
      ...SPECIAL,
    ];
    for (const [text, surface] of pairs) {
      expect(contrast(theme[text]!, theme[surface]!), `${text} on ${surface}`).toBeGreaterThanOrEqual(4.5);
    }
  },
);
