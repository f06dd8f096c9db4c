import { expect, test } from "vitest";
import type { Head, Score } from "./data/head";
import { cardLines, describeDictionary, scoreOf, wordsBeatingChance } from "./scores";

const score = (subject: string, metric: string, value = 1): Score => ({
  subject,
  metric,
  value,
  low: null,
  high: null,
});

test("the card holds the dictionary first, then its nulls, and leaves steering out", () => {
  const lines = cardLines([
    score("mean", "KL"),
    score("dictionary", "KL", 2),
    score("dictionary", "own figure"),
    score("steered feature", "KL · feature 1 · 2×"),
    score("random dictionary", "variance explained"),
  ]);
  expect(lines.map((line) => line.name)).toEqual(["variance explained", "KL", "own figure"]);
  expect(lines[1]!.scores.map((s) => s.subject)).toEqual(["dictionary", "mean"]);
  expect(scoreOf(lines[1], "dictionary")?.value).toBe(2);
});

test("the dictionary is described from whatever settings are there", () => {
  const stages = [{ kind: "dictionary", config: { training: {}, kind: { kind: "TopK", n_features: 12, k: 3 } } }];
  expect(describeDictionary({ stages, dictionary: null, features: null } as unknown as Head)).toEqual({
    kind: "TopK",
    n: 12,
    k: 3,
  });
  expect(describeDictionary({ stages: [], dictionary: null, features: null } as unknown as Head)).toEqual({
    kind: null,
    n: null,
    k: null,
  });
});

test("the share of words that beat chance stands beside the share that chance reaches", () => {
  const words = {
    methods: [],
    summary: { share_beating_null: 0.6, null: "best score of 1000 random directions, quantile 0.95" },
  };
  const found = wordsBeatingChance({ words } as unknown as Head);
  expect(found?.share).toBe(0.6);
  expect(found?.chance).toBeCloseTo(0.05);
  expect(wordsBeatingChance({ words: null } as unknown as Head)).toBeNull();
});
