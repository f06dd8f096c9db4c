// Words that a feature stands for, to be marked alike in every answer: its words, and the whole words among its tokens.

import type { Features } from "./data/features";

/** Lower-case words of a feature: those that name it, and its top tokens of at least three letters. */
export function wantedWords(features: Features | null, feature: number): Set<string> {
  if (!features) return new Set();
  const tokens = (features.columns.tokens[feature] ?? []).map((rank) => (features.strings[rank] ?? "").trim());
  const whole = tokens.filter((token) => /^\p{L}{3,}$/u.test(token));
  return new Set([...(features.columns.words[feature] ?? []), ...whole].map((word) => word.toLowerCase()));
}
