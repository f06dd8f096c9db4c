// Tokens as text to look at. A token is a string, or its bytes when they are no whole character.

export type Piece = string | number[];

/**
 * One string per piece of a running text. A character spread over several pieces is shown by the piece that completes
 * it; a piece that completes nothing, and bytes that are not UTF-8, are shown as hex: ⟨e2 80⟩.
 */
export function render(pieces: readonly Piece[]): string[] {
  const shown: string[] = [];
  for (let i = 0; i < pieces.length;) {
    const piece = pieces[i]!;
    if (typeof piece === "string") {
      shown.push(piece);
      i++;
      continue;
    }
    const run: number[][] = [];
    while (i < pieces.length && typeof pieces[i] !== "string") run.push(pieces[i++] as number[]);
    shown.push(...renderBytes(run));
  }
  return shown;
}

function renderBytes(run: readonly number[][]): string[] {
  const shown = run.map(() => "");
  const bytes = run.flatMap((piece, owner) => piece.map((byte) => ({ byte, owner })));
  for (let i = 0; i < bytes.length;) {
    const length = characterLength(bytes[i]!.byte);
    const character =
      length &&
      decode(
        bytes.slice(i, i + length).map(({ byte }) => byte),
        length,
      );
    if (character) {
      shown[bytes[i + length - 1]!.owner] += character;
      i += length;
    } else {
      shown[bytes[i]!.owner] += hex([bytes[i]!.byte]);
      i++;
    }
  }
  return shown.map((text, owner) => text || hex(run[owner]!));
}

/** Bytes of the UTF-8 character that begins with `byte`; 0 when none can. */
function characterLength(byte: number): number {
  if (byte < 0x80) return 1;
  if (byte >= 0xc2 && byte < 0xe0) return 2;
  if (byte >= 0xe0 && byte < 0xf0) return 3;
  return byte >= 0xf0 && byte < 0xf5 ? 4 : 0;
}

function decode(bytes: number[], length: number): string {
  if (bytes.length < length) return "";
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch {
    return "";
  }
}

function hex(bytes: readonly number[]): string {
  return bytes.length ? `⟨${bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ")}⟩` : "";
}

const MARKS: Record<string, string> = { "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽", "\u3000": "□" };
const LOST = /[\u0000-\u001f\u007f-\u00a0\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3000\ufeff]/g;

/** Text in which nothing is lost on a line: ↵ for a new line, ⇥ for a tab, ⟨U+202E⟩ for what has no shape of its own. */
export function visible(text: string): string {
  return text.replace(LOST, (character) => MARKS[character] ?? `⟨U+${codePoint(character)}⟩`);
}

function codePoint(character: string): string {
  return character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
}

/** A token on its own, for lists: a leading space becomes ␣ so that ` the` and `the` differ. */
export function quoted(text: string): string {
  const shown = visible(text);
  return shown.startsWith(" ") ? `␣${shown.slice(1)}` : shown || "∅";
}
