import { expect, test } from "vitest";
import { Cache } from "./cache";

test("a value is made once while it is among the last used", async () => {
  const made: number[] = [];
  const cache = new Cache(2, async (key: number) => (made.push(key), key * 10));
  expect(await cache.get(1)).toBe(10);
  await cache.get(2);
  await cache.get(1);
  await cache.get(3);
  await cache.get(1);
  expect(made).toEqual([1, 2, 3]);
  await cache.get(2);
  expect(made).toEqual([1, 2, 3, 2]);
  expect(cache.size).toBe(2);
});

test("a failure is not remembered", async () => {
  let tries = 0;
  const cache = new Cache(2, async (key: string) => {
    if (++tries === 1) throw new Error("first");
    return key;
  });
  await expect(cache.get("a")).rejects.toThrow("first");
  expect(await cache.get("a")).toBe("a");
});
