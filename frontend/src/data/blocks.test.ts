import { gzipSync } from "node:zlib";
import { afterEach, expect, test, vi } from "vitest";
import { unpack, UnpackError } from "./blocks";
import { spread, tokenArray } from "./features";

afterEach(() => vi.unstubAllGlobals());

test("a packed block comes back byte for byte", async () => {
  const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7919) % 256);
  expect(await unpack(gzipSync(bytes).toString("base64"))).toEqual(bytes);
});

test("a block that was cut off is refused, not shown in part", async () => {
  const packed = gzipSync(Buffer.from("x".repeat(5000) + Math.PI)).toString("base64");
  await expect(unpack(packed.slice(0, 24))).rejects.toThrow();
});

test("a browser without DecompressionStream gets a sentence that names the remedy", async () => {
  vi.stubGlobal("DecompressionStream", undefined);
  await expect(unpack("")).rejects.toThrow(UnpackError);
  await expect(unpack("")).rejects.toThrow(/Firefox 113/);
});

test("tokens are little-endian, two or four bytes wide", () => {
  expect([...tokenArray(new Uint8Array([1, 0, 255, 255]), 2)]).toEqual([1, 65535]);
  expect([...tokenArray(new Uint8Array([1, 0, 1, 0]), 4)]).toEqual([65537]);
});

test("activations are spread over the window and silent tokens stay 0", () => {
  expect(spread([1, 10_000, 3, -500], 5, 2 / 10_000)).toEqual([0, 2, 0, -0.1, 0]);
});
