import { expect, test } from "vitest";
import { decades, logAxis, logBins, logPlace } from "./density";

test("the axis holds every positive value in whole decades", () => {
  expect(logAxis([0.002, null, 0, 0.3])).toEqual({ low: -3, high: 0 });
  expect(logAxis([0.01])).toEqual({ low: -2, high: -1 });
  expect(logAxis([null, 0])).toEqual({ low: -1, high: 0 });
  expect(decades({ low: -3, high: 0 })).toEqual([-3, -2, -1, 0]);
});

test("places run from 0 to 1", () => {
  expect(logPlace(0.001, { low: -3, high: 0 })).toBeCloseTo(0);
  expect(logPlace(1, { low: -3, high: 0 })).toBeCloseTo(1);
});

test("every positive value is counted once", () => {
  const axis = { low: -2, high: 0 };
  expect(logBins([0.01, 0.05, 0.1, 1, null, 0], axis, 1)).toEqual([2, 2]);
});
