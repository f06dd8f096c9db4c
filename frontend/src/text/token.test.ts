import { expect, test } from "vitest";
import { quoted, render, visible } from "./token";

const bytes = (text: string) => [...new TextEncoder().encode(text)];

test("a character cut in two is shown whole by the piece that completes it", () => {
  const [a, b, c] = bytes("고") as [number, number, number];
  expect(render(["x", [a, b], [c], "y"])).toEqual(["x", "⟨ea b3⟩", "고", "y"]);
});

test("a piece may complete one character and begin the next", () => {
  const all = bytes("고래");
  expect(render([all.slice(0, 2), all.slice(2, 5), all.slice(5)])).toEqual(["⟨ea b3⟩", "고⟨eb 9e⟩".slice(0, 1), "래"]);
});

test("bytes that are no text are shown as hex and never as a replacement character", () => {
  expect(render([[0xff], [0xe2, 0x80]])).toEqual(["⟨ff⟩", "⟨e2⟩⟨80⟩"]);
  expect(render([[0xe2, 0x80]]).join("")).not.toContain("\ufffd");
});

test("overlong and surrogate encodings are not decoded", () => {
  expect(render([[0xc0, 0xaf]])[0]).toContain("⟨c0⟩");
  expect(render([[0xed, 0xa0, 0x80]])[0]).toContain("⟨ed⟩");
});

test("pieces of whole characters give back the text", () => {
  const text = "naïve 🐋 = 고래";
  expect(render([...text]).join("")).toBe(text);
  expect(render([...bytes(text)].map((byte) => [byte])).join("")).toContain("🐋");
});

test("white space that would be lost is visible", () => {
  expect(visible("a\n\tb")).toBe("a↵⇥b");
  expect(quoted(" the")).toBe("␣the");
  expect(quoted("")).toBe("∅");
});

test("characters that would reorder the page are named instead", () => {
  expect(visible("a\u202eb")).toBe("a⟨U+202E⟩b");
  expect(visible("\u200b")).toBe("⟨U+200B⟩");
  expect(visible("\u0000")).toBe("⟨U+0000⟩");
});
