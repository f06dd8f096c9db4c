// Features: the columns that search and lists need, and pages that are unpacked when looked at.

import { block, jsonBlock } from "./blocks";
import { Cache } from "./cache";
import type { Head } from "./head";
import { quoted, render, type Piece } from "../text/token";

/** One entry per feature in every column. Tokens are ranks into `strings`. */
export interface Columns {
  density: (number | null)[];
  n_fires: number[];
  max: (number | null)[];
  score: (number | null)[];
  beats: (number | null)[];
  words: string[][];
  /** Words that carry its activation in the strongest examples. */
  contexts: string[][];
  tokens: number[][];
  peaks: number[][];
}

/** word, number of its tokens, score, p(word | feature), p(feature | word), whether it beats the null */
export type WordRow = [string, number | null, number | null, number | null, number | null, number | null];

export interface FeaturePage {
  f: number;
  density: [number | null, number | null, number | null];
  n: number;
  max: number | null;
  mean: number | null;
  std: number | null;
  quantiles: (number | null)[];
  histogram: number[];
  top: [number[], (number | null)[]];
  bottom: [number[], (number | null)[]];
  cosine: [number[], (number | null)[]];
  cofiring: [number[], (number | null)[]];
  words: Record<string, WordRow[]>;
  scale: number | null;
  examples: PackedExample[];
}

/** group, document, start, length, peak, value, [position, steps, …] */
export type PackedExample = [number | string, number, number, number, number, number | null, number[]];

export interface Example {
  group: string;
  document: number;
  source: string;
  /** Text of each token of the window. */
  tokens: string[];
  /** Id of each token in the model's vocabulary. */
  ids: number[];
  /** Activation of each token; 0 where the feature is silent. */
  values: number[];
  /** Place of the peak in the window. */
  peak: number;
  /** Activation at the peak; for a near miss, what it was before the threshold. */
  value: number | null;
}

export interface Page {
  page: FeaturePage;
  examples: Example[];
}

/** Everything about features that the file holds. */
export class Features {
  private readonly chunks: Cache<number, FeaturePage[]>;
  private readonly tokens: Cache<number, Uint16Array | Uint32Array>;
  private documents: Promise<Map<number, string>> | null = null;

  private constructor(
    readonly layout: NonNullable<Head["features"]>,
    readonly columns: Columns,
    readonly ids: number[],
    readonly pieces: Piece[],
    /** Each token on its own. */
    readonly strings: string[],
  ) {
    this.chunks = new Cache(24, (number) => jsonBlock<FeaturePage[]>(`chunk-${number}`));
    this.tokens = new Cache(64, async (number) => tokenArray(await block(`tokens-${number}`), layout.token_bytes));
  }

  static async open(layout: NonNullable<Head["features"]>): Promise<Features> {
    const [columns, vocabulary] = await Promise.all([
      jsonBlock<Columns>("list"),
      jsonBlock<{ ids: number[]; strings: Piece[] }>("strings"),
    ]);
    const strings = vocabulary.strings.map((piece) => render([piece])[0] ?? "");
    return new Features(layout, columns, vocabulary.ids, vocabulary.strings, strings);
  }

  get n(): number {
    return this.layout.n;
  }

  /** What a feature is named by: its words, unless a random direction does as well; then by where it fires. */
  namedBy(feature: number): "words" | "contexts" {
    return this.columns.words[feature]?.length && this.columns.beats[feature] !== 0 ? "words" : "contexts";
  }

  /** The first words that a feature is named by (`namedBy`), or its commonest peak tokens. */
  name(feature: number, limit = 3): string[] {
    const words = this.columns[this.namedBy(feature)][feature] ?? [];
    if (this.namedBy(feature) === "words") return words.slice(0, limit);
    const peaks = (this.columns.peaks[feature] ?? []).map((rank) => this.strings[rank] ?? "");
    const found = words.length ? words : peaks;
    const lettered = found.filter((text) => /^\s*[\p{L}\p{N}_]/u.test(text)).map((text) => text.trim());
    return (lettered.length ? lettered : found.map(quoted)).slice(0, limit);
  }

  /** The page of a feature with its windows as text; null when there is no such feature. */
  async page(feature: number): Promise<Page | null> {
    if (!(feature >= 0 && feature < this.n)) return null;
    const chunk = await this.chunks.get(Math.floor(feature / this.layout.per_chunk));
    const page = chunk[feature % this.layout.per_chunk];
    if (!page) return null;
    return { page, examples: await Promise.all(page.examples.map((packed) => this.example(page, packed))) };
  }

  private async example(page: FeaturePage, packed: PackedExample): Promise<Example> {
    const [group, document, start, length, peak, value, steps] = packed;
    const ranks = await this.window(start, length);
    this.documents ??= openDocuments();
    return {
      group: typeof group === "number" ? (this.layout.groups[group] ?? String(group)) : group,
      document,
      source: (await this.documents).get(document) ?? "",
      tokens: render(ranks.map((rank) => this.pieces[rank] ?? "")),
      ids: ranks.map((rank) => this.ids[rank] ?? -1),
      values: spread(steps, length, (page.scale ?? 0) / this.layout.scale_steps),
      peak,
      value,
    };
  }

  /** Ranks of the stream's tokens [start, start + length). */
  private async window(start: number, length: number): Promise<number[]> {
    const size = this.layout.per_token_block;
    const found: number[] = [];
    for (let at = start; at < start + length;) {
      const tokens = await this.tokens.get(Math.floor(at / size));
      const stop = Math.min(start + length, (Math.floor(at / size) + 1) * size);
      found.push(...tokens.subarray(at % size, (at % size) + stop - at));
      at = stop;
    }
    return found;
  }
}

/** Values per token from [position, steps, …]. */
export function spread(steps: readonly number[], length: number, unit: number): number[] {
  const values = new Array<number>(length).fill(0);
  for (let i = 0; i + 1 < steps.length; i += 2) values[steps[i]!] = steps[i + 1]! * unit;
  return values;
}

/** Little-endian tokens of 2 or 4 bytes, whatever the machine's own order. */
export function tokenArray(bytes: Uint8Array<ArrayBuffer>, width: 2 | 4): Uint16Array | Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Math.floor(bytes.byteLength / width);
  const tokens = width === 2 ? new Uint16Array(length) : new Uint32Array(length);
  for (let i = 0; i < length; i++) tokens[i] = width === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true);
  return tokens;
}

async function openDocuments(): Promise<Map<number, string>> {
  const { labels, documents, label_of } = await jsonBlock<{
    labels: string[];
    documents: number[];
    label_of: number[];
  }>("documents");
  return new Map(documents.map((document, i) => [document, labels[label_of[i] ?? -1] ?? ""]));
}
