// Search and order of the feature list. Plain substring search over one short text per feature: thousands of features
// take a few milliseconds, and what it finds can be understood.

import type { Columns } from "./data/features";

export type Order = "score" | "density" | "max" | "number" | "rare";
export interface Filter {
  alive: boolean;
  beats: boolean;
}

interface Entry {
  words: string[];
  text: string;
}

/** Lower case without accents, so that `mare` finds `maré`. */
export function fold(text: string): string {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().normalize("NFKC");
}

export class Index {
  private readonly entries: Entry[];
  private readonly orders = new Map<Order, number[]>();

  constructor(
    private readonly columns: Columns,
    strings: readonly string[],
  ) {
    this.entries = columns.words.map((words, feature) => {
      const tokens = [...(columns.tokens[feature] ?? []), ...(columns.peaks[feature] ?? [])];
      const texts = [
        ...words,
        ...(columns.contexts[feature] ?? []),
        ...tokens.map((rank) => (strings[rank] ?? "").trim()),
      ].map(fold);
      return { words: texts, text: texts.join("\u0001") };
    });
  }

  /**
   * Features that match every term of the query and pass the filter. With a query, better matches come first
   * (the feature's own number, then whole words, earlier words before later ones); otherwise by `order`.
   */
  find(query: string, order: Order, filter: Filter): number[] {
    const terms = fold(query).split(/\s+/).filter(Boolean);
    const kept = this.ordered(order).filter((feature) => this.passes(feature, filter, terms));
    if (!terms.length) return kept;
    const found = kept.flatMap((feature) => {
      const rank = this.rank(feature, terms);
      return rank === null ? [] : [{ feature, rank }];
    });
    return found.sort((a, b) => a.rank - b.rank).map(({ feature }) => feature);
  }

  /** All features in an order, sorted once. */
  private ordered(order: Order): number[] {
    let sorted = this.orders.get(order);
    if (!sorted) {
      const compare = ORDERS[order];
      sorted = [...this.entries.keys()].sort((a, b) => compare(this.columns, a, b) || a - b);
      this.orders.set(order, sorted);
    }
    return sorted;
  }

  private passes(feature: number, filter: Filter, terms: readonly string[]): boolean {
    if (terms.length === 1 && isNumber(terms[0]!, feature)) return true;
    if (filter.alive && !this.columns.n_fires[feature]) return false;
    return !filter.beats || this.columns.beats[feature] === 1;
  }

  /** Sum over terms of the place of the best match; null when a term is not found. Lower is better. */
  private rank(feature: number, terms: readonly string[]): number | null {
    const entry = this.entries[feature]!;
    let total = 0;
    for (const term of terms) {
      if (isNumber(term, feature)) {
        total -= 1000;
        continue;
      }
      if (!entry.text.includes(term)) return null;
      const exact = entry.words.indexOf(term);
      total += exact >= 0 ? exact : 100 + entry.words.findIndex((word) => word.includes(term));
    }
    return total;
  }
}

function isNumber(term: string, feature: number): boolean {
  return term.replace(/^#/, "") === String(feature);
}

const ORDERS: Record<Order, (columns: Columns, a: number, b: number) => number> = {
  score: (columns, a, b) => descending(columns.score[a], columns.score[b]),
  density: (columns, a, b) => descending(columns.density[a], columns.density[b]),
  max: (columns, a, b) => descending(columns.max[a], columns.max[b]),
  number: (_columns, a, b) => a - b,
  rare: (columns, a, b) => descending(negative(columns.density[a]), negative(columns.density[b])),
};

/** Larger first; what is missing comes last. */
function descending(a: number | null | undefined, b: number | null | undefined): number {
  return (b ?? -Infinity) > (a ?? -Infinity) ? 1 : (b ?? -Infinity) < (a ?? -Infinity) ? -1 : 0;
}

/** For ascending order of features that fire; silent ones come last. */
function negative(density: number | null | undefined): number | null {
  return density ? -density : null;
}
