// Words that a feature stands for, to be marked alike in every answer: its words where they beat chance, and the whole words among its top tokens.

import type { Features } from "./data/features";

/** Lower-case words of a feature: those that name it, and its top tokens of at least three letters. */
export function wantedWords(features: Features | null, feature: number): Set<string> {
  if (!features) return new Set();
  const tokens = (features.columns.tokens[feature] ?? []).map((rank) => (features.strings[rank] ?? "").trim());
  const whole = tokens.filter((token) => /^\p{L}{3,}$/u.test(token));
  const words = features.namedBy(feature) === "words" ? (features.columns.words[feature] ?? []) : [];
  return new Set([...words, ...whole].map((word) => word.toLowerCase()));
}
