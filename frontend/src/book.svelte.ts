// What the page has open: the head, the features once unpacked, the answers, and where the reader is.

import type { Answer } from "./answers";
import { jsonBlock } from "./data/blocks";
import { Features } from "./data/features";
import { readHead } from "./data/head";
import { parse, type Route } from "./route";
import { Index, type Filter, type Order } from "./search";

export const head = readHead();

class Book {
  features = $state.raw<Features | null>(null);
  index = $state.raw<Index | null>(null);
  answers = $state.raw<Answer[]>([]);
  failure = $state<string | null>(null);
  route = $state.raw<Route>(parse(location.hash));
  query = $state("");
  order = $state<Order>("score");
  filter = $state<Filter>({ alive: true, beats: false });

  /** Features in the list's present order. */
  found = $derived<number[]>(this.index?.find(this.query, this.order, this.filter) ?? []);
  /** The feature that stands beside the list while none is in the address. */
  preview = $state<number | null>(null);
  /** The feature that is shown. */
  current = $derived<number | null>(this.route.view === "feature" ? this.route.feature : this.preview);

  async open(): Promise<void> {
    addEventListener("hashchange", () => (this.route = parse(location.hash)));
    try {
      if (head?.features) {
        const features = await Features.open(head.features);
        if (!head.words) this.order = "density";
        this.index = new Index(features.columns, features.strings);
        this.features = features;
      }
      if (head?.n_answers) this.answers = await jsonBlock<Answer[]>("answers");
    } catch (error) {
      this.failure = error instanceof Error ? error.message : String(error);
    }
  }

  /** Go `by` features down the list; stays at its ends. */
  step(by: number): void {
    if (!this.found.length) return;
    const place = this.current === null ? -1 : this.found.indexOf(this.current);
    const next = place < 0 ? 0 : Math.min(this.found.length - 1, Math.max(0, place + by));
    location.hash = `#feature/${this.found[next]}`;
  }
}

export const book = new Book();
