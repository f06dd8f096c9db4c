// The page's head: cards and counts that every view may need at once.

export interface Stage {
  folder: string;
  kind: string;
  digest: string;
  seed: number | null;
  seconds: number | null;
  peak_memory_bytes: number | null;
  bytes: number;
  version: string;
  config: unknown;
  parents: Record<string, string>;
}

export interface Material {
  name: string;
  version?: string;
  licence: string;
  origin?: string;
  sha256?: string;
  open: boolean;
  tokens: number;
}

export interface Score {
  subject: string;
  metric: string;
  value: number | null;
  low: number | null;
  high: number | null;
  n?: number | null;
  unit?: string;
  split?: string;
  folder?: string;
}

export interface Head {
  schema: number;
  version: string;
  model: Record<string, string>;
  hookpoint: string | null;
  stages: Stage[];
  texts: { name: string; documents: number; tokens: number }[];
  materials: Material[];
  environment: Record<string, string>;
  missing: { kind: string; command: string; shows: string }[];
  dictionary: Record<string, unknown> | null;
  scores: Score[];
  features: {
    n: number;
    n_silent: number;
    n_examples: number;
    summary: Record<string, unknown>;
    groups: string[];
    scale_steps: number;
    per_chunk: number;
    per_token_block: number;
    token_bytes: 2 | 4;
    n_stream_tokens: number;
  } | null;
  words: { methods: string[]; summary: Record<string, unknown> } | null;
  n_answers: number;
}

/** The head that the page carries, or null in a page without data. */
export function readHead(): Head | null {
  const element = document.getElementById("head");
  return element?.textContent ? (JSON.parse(element.textContent) as Head) : null;
}
