// Generated answers side by side: plain, steered through a feature, moved as far in a random direction.

import type { Score } from "./data/head";

export interface Answer {
  prompt: string;
  arm: string;
  feature: number | null;
  operation: string;
  strength: number;
  seed: number;
  text: string;
  n_tokens: number;
  effect: Record<string, number | null>;
}

/** Features that were steered with, in order of appearance. */
export function steeredFeatures(answers: readonly Answer[]): number[] {
  return [
    ...new Set(
      answers.flatMap((answer) => (answer.arm !== "plain" && answer.feature !== null ? [answer.feature] : [])),
    ),
  ];
}

/** Strengths used with a feature, ascending. */
export function strengths(answers: readonly Answer[], feature: number): number[] {
  const used = answers.filter((answer) => answer.arm === "feature" && answer.feature === feature);
  return [...new Set(used.map((answer) => answer.strength))].sort((a, b) => a - b);
}

/** The strength to show first: the one nearest to the observed maximum (1×), as a ratio; 1 when there is none. */
export function firstShown(steps: readonly number[]): number {
  const distance = (step: number) => (step > 0 ? Math.abs(Math.log(step)) : Infinity);
  return steps.reduce((best, step) => (distance(step) < distance(best) ? step : best), steps[0] ?? 1);
}

/** Every prompt once, in order of appearance. */
export function prompts(answers: readonly Answer[]): string[] {
  return [...new Set(answers.map((answer) => answer.prompt))];
}

/** The answers to one prompt: plain ones, and those of a feature and its control at one strength. */
export function sideBySide(
  answers: readonly Answer[],
  prompt: string,
  feature: number,
  strength: number,
): { plain: Answer[]; steered: Answer[]; random: Answer[] } {
  const here = answers.filter((answer) => answer.prompt === prompt);
  const moved = here.filter((answer) => answer.feature === feature && answer.strength === strength);
  return {
    plain: here.filter((answer) => answer.arm === "plain"),
    steered: moved.filter((answer) => answer.arm === "feature"),
    random: moved.filter((answer) => answer.arm === "random"),
  };
}

export interface Dose {
  arm: "feature" | "random";
  strength: number;
  value: number;
  low: number | null;
  high: number | null;
  n: number;
}

const ARMS: Record<string, Dose["arm"]> = { "steered feature": "feature", "random direction": "random" };

/** Effect figures that a feature's answers or score rows carry. */
export function effectNames(answers: readonly Answer[], feature: number): string[] {
  return [
    ...new Set(answers.filter((answer) => answer.feature === feature).flatMap((answer) => Object.keys(answer.effect))),
  ];
}

/**
 * Effect against strength for both arms: from score rows (`KL · feature 12 · 4×`, with intervals) where there are any,
 * else the mean of the answers' own figures, without interval.
 */
export function doses(answers: readonly Answer[], scores: readonly Score[], feature: number, effect: string): Dose[] {
  const scored = scores.flatMap((score) => {
    const arm = ARMS[score.subject];
    const place = arm && dosePlace(score.metric);
    if (!place || place.effect !== effect || place.feature !== feature || score.value === null) return [];
    return [{ arm, strength: place.strength, value: score.value, low: score.low, high: score.high, n: score.n ?? 0 }];
  });
  const found = scored.length ? scored : meanDoses(answers, feature, effect);
  return found.sort((a, b) => a.strength - b.strength);
}

/** The parts of a metric's name such as `KL · feature 12 · 4×`; null for another kind of name. */
export function dosePlace(name: string): { effect: string; feature: number; strength: number } | null {
  const parts = /^(.*) · feature (\d+) · (-?[\d.e+-]+)×$/.exec(name);
  return parts ? { effect: parts[1]!, feature: Number(parts[2]), strength: Number(parts[3]) } : null;
}

function meanDoses(answers: readonly Answer[], feature: number, effect: string): Dose[] {
  const groups = new Map<string, { arm: Dose["arm"]; strength: number; values: number[] }>();
  for (const answer of answers) {
    const value = answer.effect[effect];
    if (answer.feature !== feature || value == null || (answer.arm !== "feature" && answer.arm !== "random")) continue;
    const key = `${answer.arm} ${answer.strength}`;
    const group = groups.get(key) ?? { arm: answer.arm, strength: answer.strength, values: [] };
    group.values.push(value);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ arm, strength, values }) => ({
    arm,
    strength,
    value: values.reduce((sum, value) => sum + value, 0) / values.length,
    low: null,
    high: null,
    n: values.length,
  }));
}

/** Length of the part that two answers share at their beginning, cut back to a word's end. */
export function sharedStart(one: string, other: string): number {
  let i = 0;
  while (i < one.length && i < other.length && one[i] === other[i]) i++;
  if (i === one.length && i === other.length) return i;
  return one.slice(0, i).search(/\S*$/);
}

export interface Span {
  text: string;
  shared: boolean;
  wanted: boolean;
}

/** An answer cut into spans: what it shares with the plain answer's start, and words that the feature stands for. */
export function spans(text: string, plain: string | null, wanted: ReadonlySet<string>): Span[] {
  const split = plain === null ? 0 : sharedStart(text, plain);
  return [
    ...marked(text.slice(0, split), wanted).map((span) => ({ ...span, shared: true })),
    ...marked(text.slice(split), wanted).map((span) => ({ ...span, shared: false })),
  ];
}

function marked(text: string, wanted: ReadonlySet<string>): { text: string; wanted: boolean }[] {
  const found: { text: string; wanted: boolean }[] = [];
  for (const piece of text.split(/([\p{L}\p{N}]+)/u)) {
    if (!piece) continue;
    const is = wanted.has(piece.toLowerCase());
    const last = found.at(-1);
    if (last && last.wanted === is && !is) last.text += piece;
    else found.push({ text: piece, wanted: is });
  }
  return found;
}
