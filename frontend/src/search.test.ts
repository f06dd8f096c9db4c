import { expect, test } from "vitest";
import type { Columns } from "./data/features";
import { fold, Index } from "./search";

const strings = [" whale", " ship", "maré", "</script>", " the"];
const columns: Columns = {
  density: [0.01, 0.2, null, 0.001],
  n_fires: [10, 200, 0, 1],
  max: [3, 1, null, 9],
  score: [2, 5, null, 1],
  beats: [1, 0, null, 1],
  words: [["ocean", "whale"], ["whalebone", "the"], [], ["praia"]],
  contexts: [["keel"], [], [], []],
  tokens: [[0, 1], [4], [], [2]],
  peaks: [[0], [4], [], [3]],
};
const index = new Index(columns, strings);
const all = { alive: false, beats: false };
const alive = { alive: true, beats: false };

test("without a query the order decides, and silent features come last", () => {
  expect(index.find("", "score", all)).toEqual([1, 0, 3, 2]);
  expect(index.find("", "density", all)).toEqual([1, 0, 3, 2]);
  expect(index.find("", "rare", all)).toEqual([3, 0, 1, 2]);
  expect(index.find("", "max", all)).toEqual([3, 0, 1, 2]);
  expect(index.find("", "number", all)).toEqual([0, 1, 2, 3]);
});

test("filters keep what fires and what beats its null", () => {
  expect(index.find("", "number", alive)).toEqual([0, 1, 3]);
  expect(index.find("", "number", { alive: true, beats: true })).toEqual([0, 3]);
});

test("whole words come before parts of words", () => {
  expect(index.find("whale", "score", all)).toEqual([0, 1]);
});

test("words of the strongest examples are found too", () => {
  expect(index.find("keel", "score", all)).toEqual([0]);
});

test("all terms must be found, in words or tokens", () => {
  expect(index.find("whale ship", "score", all)).toEqual([0]);
  expect(index.find("whale praia", "score", all)).toEqual([]);
});

test("a number finds its feature first, silent or not", () => {
  expect(index.find("2", "score", alive)).toEqual([2]);
  expect(index.find("#3", "score", alive)).toEqual([3]);
});

test("accents and case do not matter", () => {
  expect(index.find("MARE", "score", all)).toEqual([3]);
  expect(fold("Ação")).toBe("acao");
  expect(fold("고래")).toBe("고래");
});

test("markup in tokens is text like any other", () => {
  expect(index.find("</script>", "score", all)).toEqual([3]);
});

test("searching 65,536 features takes less than a frame's worth of patience", () => {
  const n = 65_536;
  const words = Array.from({ length: n }, (_, i) => [`word${i}`, `other${i % 97}`, "common"]);
  const many = <T>(value: T) => new Array<T>(n).fill(value);
  const large = new Index(
    {
      density: many(0.1),
      n_fires: many(1),
      max: many(1),
      score: many(1),
      beats: many(1),
      words,
      contexts: many([]),
      tokens: many([0]),
      peaks: many([1]),
    },
    strings,
  );
  const started = performance.now();
  expect(large.find("other42 common", "score", alive).length).toBe(Math.ceil((n - 42) / 97));
  expect(performance.now() - started).toBeLessThan(500);
});
