// Score rows of the dictionary card: one line per figure, the dictionary first, its nulls after it.

import type { Head, Score } from "./data/head";
import { dosePlace } from "./answers";
import { percent } from "./figures";
import { CARD_ORDER, metric, type Metric } from "./metrics";

const SUBJECTS = ["dictionary", "random dictionary", "zeroed layer", "mean", "clean model"];

export interface Line {
  name: string;
  metric: Metric;
  scores: Score[];
}

/** Figures about the dictionary, in the card's order; figures about steering are left to the steering view. */
export function cardLines(scores: readonly Score[]): Line[] {
  const lines = new Map<string, Score[]>();
  for (const score of scores) {
    if (dosePlace(score.metric) || score.subject === "steered feature" || score.subject === "random direction")
      continue;
    lines.set(score.metric, [...(lines.get(score.metric) ?? []), score]);
  }
  return [...lines]
    .map(([name, found]) => ({
      name,
      metric: metric(name),
      scores: found.sort((a, b) => subjectRank(a) - subjectRank(b)),
    }))
    .sort((a, b) => metricRank(a.name) - metricRank(b.name) || a.name.localeCompare(b.name));
}

/** The score of a subject in a line, if it was measured. */
export function scoreOf(line: Line | undefined, subject: string): Score | undefined {
  return line?.scores.find((score) => score.subject === subject);
}

/** Figures that carry no null of their own cannot refute anything: true when another subject stands beside. */
export function hasNull(line: Line): boolean {
  return line.scores.some((score) => score.subject !== "dictionary");
}

function subjectRank(score: Score): number {
  const rank = SUBJECTS.indexOf(score.subject);
  return rank < 0 ? SUBJECTS.length : rank;
}

function metricRank(name: string): number {
  const rank = CARD_ORDER.indexOf(
    name
      .toLowerCase()
      .replaceAll(/[_\s]+/g, " ")
      .trim(),
  );
  return rank < 0 ? CARD_ORDER.length : rank;
}

/** Share of features whose best word beats random directions, beside the share that random directions would reach. */
export function wordsBeatingChance(
  head: Head,
): { share: number; chance: number | null; scores: Score[]; metric: Metric } | null {
  const share = numberOf(head.words?.summary["share_beating_null"]);
  if (share === null) return null;
  const quantile = /quantile ([\d.]+)/.exec(String(head.words?.summary["null"] ?? ""));
  const chance = quantile ? 1 - Number(quantile[1]) : null;
  const score = (subject: string, value: number | null): Score => ({
    subject,
    metric: "",
    value,
    low: null,
    high: null,
  });
  return {
    share,
    chance,
    scores: [score("dictionary", share), score("random direction", chance)],
    metric: {
      label: "Words beat chance",
      meaning: "",
      better: "more",
      format: (value) => percent(value),
      range: [0, 1],
    },
  };
}

/** The dictionary in a few words, from its settings: `TopK, 4,608 features, k = 32`. */
export function describeDictionary(head: Head): { kind: string | null; n: number | null; k: number | null } {
  const stage = head.stages.find((s) => s.kind === "dictionary");
  const known = head.dictionary ?? {};
  const settings = findSettings(known["kind"]) ?? findSettings(stage?.config) ?? {};
  const n = head.features?.n ?? numberOf(settings["n_features"]) ?? numberOf(known["n_features"]);
  const kind = typeof settings["kind"] === "string" ? settings["kind"] : null;
  return { kind, n, k: numberOf(settings["k"]) ?? numberOf(known["k"]) };
}

/** The object that holds `n_features`, wherever it stands in the settings. */
function findSettings(value: unknown): Record<string, unknown> | null {
  if (typeof value !== "object" || value === null) return null;
  const object = value as Record<string, unknown>;
  if ("n_features" in object) return object;
  for (const inner of Object.values(object)) {
    const found = findSettings(inner);
    if (found) return found;
  }
  return null;
}

function numberOf(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}
