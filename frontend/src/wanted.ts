// Words that a feature stands for, to be marked alike in every answer: its words where they beat chance, and those that it fires on.

import type { Features } from "./data/features";

/** Lower-case words of a feature: those that name it, and those it fires on, of at least three letters. */
export function wantedWords(features: Features | null, feature: number): Set<string> {
  if (!features) return new Set();
  const read = (features.columns.contexts[feature] ?? []).map((word) => word.trim());
  const whole = read.filter((word) => /^\p{L}{3,}$/u.test(word));
  const words = features.namedBy(feature) === "words" ? (features.columns.words[feature] ?? []) : [];
  return new Set([...words, ...whole].map((word) => word.toLowerCase()));
}
