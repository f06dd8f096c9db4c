import { expect, test } from "vitest";
import type { Example, FeaturePage } from "./data/features";
import { groups } from "./groups";

const example = (group: string) => ({ group }) as Example;
const page = { max: 20 } as FeaturePage;

test("groups go from the strongest down to the silent, whatever the file's order", () => {
  const names = ["silent", "tenth-1", "near-miss", "tenth-10", "top", "tenth-2"];
  expect(groups(names.map(example), page).map((group) => group.name)).toEqual([
    "top",
    "tenth-10",
    "tenth-2",
    "tenth-1",
    "near-miss",
    "silent",
  ]);
});

test("a tenth states its range of activations", () => {
  expect(groups([example("tenth-10")], page)[0]).toMatchObject({
    title: "90–100 % of the maximum",
    note: "18 to 20",
    level: 10,
    fires: true,
  });
});

test("only near misses and silent text lie below the line", () => {
  const found = groups(["top", "near-miss", "silent", "tenth-3"].map(example), page);
  expect(found.filter((group) => !group.fires).map((group) => group.name)).toEqual(["near-miss", "silent"]);
});
