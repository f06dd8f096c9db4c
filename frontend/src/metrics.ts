// What each figure means, in one line, and how it is drawn. A figure without an entry is shown under its own name.

import { count, figure, percent } from "./figures";

export interface Metric {
  label: string;
  /** One line a newcomer can read. */
  meaning: string;
  /** Which way is good; "neither" for a size that is chosen or has no better end. */
  better: "more" | "less" | "neither";
  format: (value: number) => string;
  /** Ends of the axis when fixed by the figure's definition. */
  range?: [number, number];
}

const share = (value: number) => percent(value, 3);

const KNOWN: Record<string, Metric> = {
  "variance explained": {
    label: "Variance explained",
    meaning: "Share of the layer's variance that the reconstruction keeps: 1 − Σ‖x − x̂‖² / Σ‖x − mean‖².",
    better: "more",
    format: share,
    range: [0, 1],
  },
  cosine: {
    label: "Cosine",
    meaning: "Mean cosine between an activation and its reconstruction.",
    better: "more",
    format: (value) => figure(value, 3),
    range: [0, 1],
  },
  "ce loss recovered": {
    label: "Loss recovered",
    meaning:
      "The model runs on with the reconstruction in place of the layer; 0 % = zeroed layer, 100 % = untouched model.",
    better: "more",
    format: share,
    range: [0, 1],
  },
  "ce loss recovered over mean": {
    label: "Loss recovered, over mean",
    meaning: "The same, but 0 % is the layer's mean vector: a harder baseline than zero.",
    better: "more",
    format: share,
    range: [0, 1],
  },
  kl: {
    label: "KL to the model",
    meaning: "How far next-token predictions move when the layer is replaced, in nats per token.",
    better: "less",
    format: (value) => figure(value, 3),
  },
  "ce loss": {
    label: "Cross-entropy",
    meaning: "Loss of the model with the layer replaced, in nats per token; the untouched model is the mark to reach.",
    better: "less",
    format: (value) => figure(value, 3),
  },
  l0: {
    label: "Active per token (L0)",
    meaning: "Features that fire on one token, on average. Compare dictionaries only at equal L0.",
    better: "neither",
    format: (value) => figure(value, 3),
  },
  "dead share": {
    label: "Dead features",
    meaning: "Share of features that never fired on these tokens. More text can wake rare ones.",
    better: "less",
    format: share,
    range: [0, 1],
  },
  "dense share": {
    label: "Dense features",
    meaning: "Share of features that fire on more than 10 % of tokens: seldom one concept.",
    better: "less",
    format: share,
    range: [0, 1],
  },
  "target log-prob shift": {
    label: "Shift of the feature's own tokens",
    meaning:
      "Change of log P(any token that the feature fires on most) on the plain answer, in nats. What steering was meant to do.",
    better: "more",
    format: (value) => figure(value, 3),
  },
  repetition: {
    label: "Repetition",
    meaning: "Share of three-token sequences that had already been said in the answer.",
    better: "less",
    format: share,
    range: [0, 1],
  },
};

/** The description of a metric, whatever its spelling (`CE loss recovered`, `ce_loss_recovered`). */
export function metric(name: string): Metric {
  return (
    KNOWN[
      name
        .toLowerCase()
        .replaceAll(/[_\s]+/g, " ")
        .trim()
    ] ?? {
      label: name,
      meaning: "",
      better: "neither",
      format: (value) => (Number.isInteger(value) ? count(value) : figure(value)),
    }
  );
}

/** Order of the dictionary card; unknown figures follow. */
export const CARD_ORDER = Object.keys(KNOWN);
