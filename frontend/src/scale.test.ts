import { expect, test } from "vitest";
import { contrast, glow, glowProperties, level, LEVELS, luminance, type Theme } from "./scale";

const THEMES: Theme[] = ["light", "dark"];
const steps = Array.from({ length: LEVELS }, (_, i) => i + 1);

test("a level is the tenth of the range that a value lies in", () => {
  expect([0, 1e-6, 0.1, 0.1001, 0.55, 0.9, 1].map(level)).toEqual([0, 1, 1, 2, 6, 9, 10]);
});

test("what does not fire, and what is no number, has no colour", () => {
  expect([-0.3, 0, NaN].map(level)).toEqual([0, 0, 0]);
});

test("values above the observed maximum stay at full light", () => {
  expect(level(1.7)).toBe(LEVELS);
});

test.each(THEMES)("text on every level of the %s theme reaches the AA contrast", (theme) => {
  for (const step of steps) {
    const { background, text } = glow(step, theme);
    expect(contrast(background, text), `level ${step} ${background} ${text}`).toBeGreaterThanOrEqual(4.5);
  }
});

test.each(THEMES)("lightness alone orders the levels of the %s theme", (theme) => {
  const lights = steps.map((step) => luminance(glow(step, theme).background));
  const ordered = [...lights].sort((a, b) => (theme === "light" ? b - a : a - b));
  expect(lights).toEqual(ordered);
  expect(new Set(lights).size).toBe(LEVELS);
});

test("black on white has the contrast that WCAG gives it", () => {
  expect(contrast("#000000", "#ffffff")).toBeCloseTo(21, 10);
  expect(contrast("#777777", "#ffffff")).toBeCloseTo(4.48, 2);
});

test("every level has its two custom properties", () => {
  const properties = glowProperties("dark");
  expect(Object.keys(properties)).toHaveLength(2 * LEVELS);
  for (const value of Object.values(properties)) expect(value).toMatch(/^#[0-9a-f]{6}$/);
});
