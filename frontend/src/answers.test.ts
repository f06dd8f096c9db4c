import { expect, test } from "vitest";
import {
  dosePlace,
  doses,
  effectNames,
  firstShown,
  prompts,
  sharedStart,
  sideBySide,
  spans,
  steeredFeatures,
  strengths,
  type Answer,
} from "./answers";

const answer = (arm: string, feature: number | null, strength: number, kl: number, prompt = "p"): Answer => ({
  prompt,
  arm,
  feature,
  operation: "clamp",
  strength,
  seed: 0,
  text: `${arm} ${strength}`,
  n_tokens: 2,
  effect: { KL: kl },
});
const rows = [
  answer("plain", null, 0, 0),
  answer("plain", null, 0, 0, "q"),
  answer("feature", 7, 4, 2),
  answer("feature", 7, 4, 4, "q"),
  answer("feature", 7, 1, 1),
  answer("random", 7, 4, 0.5),
  answer("feature", 9, 2, 1),
];

test("features, strengths and prompts are found in the rows", () => {
  expect(steeredFeatures(rows)).toEqual([7, 9]);
  expect(strengths(rows, 7)).toEqual([1, 4]);
  expect(prompts(rows)).toEqual(["p", "q"]);
  expect(effectNames(rows, 7)).toEqual(["KL"]);
});

test("three arms of one prompt stand side by side", () => {
  const arms = sideBySide(rows, "p", 7, 4);
  expect([arms.plain, arms.steered, arms.random].map((found) => found.map((row) => row.text))).toEqual([
    ["plain 0"],
    ["feature 4"],
    ["random 4"],
  ]);
});

test("a score's name is read as effect, feature and strength", () => {
  expect(dosePlace("target log-prob shift · feature 12 · 0.5×")).toEqual({
    effect: "target log-prob shift",
    feature: 12,
    strength: 0.5,
  });
  expect(dosePlace("KL · feature 3 · -2×")?.strength).toBe(-2);
  expect(dosePlace("KL")).toBeNull();
});

test("doses come from score rows with their intervals when there are any", () => {
  const score = { subject: "steered feature", metric: "KL · feature 7 · 4×", value: 3, low: 2, high: null, n: 4 };
  const other = { subject: "dictionary", metric: "KL", value: 9, low: 9, high: 9 };
  expect(doses(rows, [score, other], 7, "KL")).toEqual([
    { arm: "feature", strength: 4, value: 3, low: 2, high: null, n: 4 },
  ]);
});

test("without score rows doses are means of the answers' own figures", () => {
  expect(doses(rows, [], 7, "KL")).toEqual([
    { arm: "feature", strength: 1, value: 1, low: null, high: null, n: 1 },
    { arm: "feature", strength: 4, value: 3, low: null, high: null, n: 2 },
    { arm: "random", strength: 4, value: 0.5, low: null, high: null, n: 1 },
  ]);
});

test("what two answers share ends at a word's end", () => {
  expect(sharedStart("I would go", "I would gladly")).toBe("I would ".length);
  expect(sharedStart("same", "same")).toBe(4);
  expect(sharedStart("", "x")).toBe(0);
});

test("spans mark the shared start and the feature's words, and keep the text", () => {
  const found = spans("I saw a Whale, whales", "I saw the sea", new Set(["whale"]));
  expect(found.map((span) => span.text).join("")).toBe("I saw a Whale, whales");
  expect(found.filter((span) => span.wanted).map((span) => span.text)).toEqual(["Whale"]);
  expect(found.filter((span) => span.shared).map((span) => span.text)).toEqual(["I saw "]);
});

test("the strength shown first is the one nearest to the observed maximum, as a ratio", () => {
  expect(firstShown([0.5, 1, 2, 4])).toBe(1);
  expect(firstShown([0.25, 3, 8])).toBe(3);
  expect(firstShown([0, 6])).toBe(6);
  expect(firstShown([])).toBe(1);
});
