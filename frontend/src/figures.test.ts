import { expect, test } from "vitest";
import { duration, figure, interval, NONE, oneIn, percent, size } from "./figures";
import { metric } from "./metrics";
import { link, parse } from "./route";

test("figures keep significant digits at every size", () => {
  expect([0, 12345.6, 32, 0.0123456, 0.00001234, -1.5].map((value) => figure(value))).toEqual([
    "0",
    "12,346",
    "32",
    "0.0123",
    "1.23e−5",
    "−1.5",
  ]);
});

test("a missing number is never shown as 0", () => {
  expect([figure(null), figure(NaN), percent(undefined), duration(null), size(null)]).toEqual([
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
  ]);
});

test("an interval says its unit once and names an end that was not measured", () => {
  expect(interval(0.31, 0.55, (v) => percent(v, 2))).toBe("[31, 55] %");
  expect(interval(null, 2)).toBe("[−∞, 2]");
  expect(interval(null, null)).toBe("no interval");
});

test("rarity, time and size read as people say them", () => {
  expect([oneIn(1 / 238), oneIn(0.75), oneIn(0)]).toEqual(["1 in 238", "75 %", "never"]);
  expect([duration(4.21), duration(185), duration(4320)]).toEqual(["4.2 s", "3 min 05 s", "1 h 12 min"]);
  expect([size(999), size(15_400_000)]).toEqual(["999 B", "15.4 MB"]);
});

test("a metric is known whatever its spelling, and an unknown one keeps its name", () => {
  expect(metric("ce_loss_recovered").label).toBe(metric("CE loss recovered").label);
  expect(metric("my own figure")).toMatchObject({ label: "my own figure", better: "neither" });
});

test("addresses lead to places and back", () => {
  expect(parse("#feature/123")).toEqual({ view: "feature", feature: 123 });
  for (const hash of ["#overview", "#features", "#steering", "#reading", "#feature/0"])
    expect(link(parse(hash))).toBe(hash);
  for (const hash of ["", "#nowhere", "#feature/x", "#feature/-1"]) expect(parse(hash)).toEqual({ view: "overview" });
});
