// Groups of examples, from the strongest down to what never reached the threshold.

import type { Example, FeaturePage } from "./data/features";
import { figure } from "./figures";

export interface Group {
  name: string;
  title: string;
  note: string;
  /** Level of the scale that the group stands for; 0 below the threshold. */
  level: number;
  fires: boolean;
  examples: Example[];
}

/** Examples by group, in the order of depth; groups without examples are left out. */
export function groups(examples: readonly Example[], page: FeaturePage): Group[] {
  const found = new Map<string, Example[]>();
  for (const example of examples) found.set(example.group, [...(found.get(example.group) ?? []), example]);
  return [...found.entries()]
    .map(([name, members]) => ({ name, ...describe(name, page.max ?? 0), examples: members }))
    .sort((a, b) => depth(a.name) - depth(b.name));
}

function describe(name: string, max: number): Omit<Group, "name" | "examples"> {
  const tenth = /^tenth-(\d+)$/.exec(name);
  if (tenth) {
    const i = Number(tenth[1]);
    const note = `${figure((max * (i - 1)) / 10)} to ${figure((max * i) / 10)}`;
    return { title: `${10 * (i - 1)}–${10 * i} % of the maximum`, note, level: i, fires: true };
  }
  if (name === "top")
    return { title: "Strongest", note: "the highest activations anywhere in the text", level: 10, fires: true };
  if (name === "near-miss") {
    return {
      title: "Near misses",
      note: "nearest to firing without it; the figure is the value before the cut",
      level: 0,
      fires: false,
    };
  }
  if (name === "silent")
    return { title: "Silent", note: "drawn at random from text where it does not fire", level: 0, fires: false };
  return { title: name, note: "", level: 0, fires: true };
}

function depth(name: string): number {
  const tenth = /^tenth-(\d+)$/.exec(name);
  if (tenth) return 20 - Number(tenth[1]);
  return { top: 0, "near-miss": 30, silent: 31 }[name] ?? 25;
}
