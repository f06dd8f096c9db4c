// From an activation to what it looks like. One place decides colours, so that the tests can measure their contrast.

export const LEVELS = 10;
export type Theme = "light" | "dark";

/** 0 for silent, else 1 … 10: which tenth of the feature's range a value lies in. Values above the maximum count as 10. */
export function level(share: number): number {
  if (!(share > 0)) return 0;
  return Math.min(LEVELS, Math.max(1, Math.ceil(share * LEVELS - 1e-9)));
}

// Anchors in OKLCH (lightness, chroma, hue): a lamp seen through water, from a faint gleam to full light.
// Lightness falls (light theme) or rises (dark theme) at every step, so that the order survives without hue.
const ANCHORS: Record<Theme, [number, number, number][]> = {
  light: [
    [0.965, 0.035, 100],
    [0.9, 0.1, 90],
    [0.82, 0.145, 72],
    [0.71, 0.165, 50],
  ],
  dark: [
    [0.29, 0.035, 205],
    [0.42, 0.062, 150],
    [0.62, 0.11, 95],
    [0.86, 0.15, 82],
  ],
};
const TEXT: Record<Theme, [string, string]> = { light: ["#10252c", "#10252c"], dark: ["#ffffff", "#03090c"] };

/** Background and text colour of a level from 1 to 10. */
export function glow(step: number, theme: Theme): { background: string; text: string } {
  const anchors = ANCHORS[theme];
  const at = ((step - 1) / (LEVELS - 1)) * (anchors.length - 1);
  const i = Math.min(anchors.length - 2, Math.floor(at));
  const mix = anchors[i]!.map((value, k) => value + (at - i) * (anchors[i + 1]![k]! - value));
  const background = oklch(mix[0]!, mix[1]!, mix[2]!);
  const [first, second] = TEXT[theme];
  return { background, text: contrast(background, first) >= contrast(background, second) ? first : second };
}

/** Custom properties `--g1 … --g10` (backgrounds) and `--t1 … --t10` (text) of a theme. */
export function glowProperties(theme: Theme): Record<string, string> {
  const properties: Record<string, string> = {};
  for (let step = 1; step <= LEVELS; step++) {
    const { background, text } = glow(step, theme);
    properties[`--g${step}`] = background;
    properties[`--t${step}`] = text;
  }
  return properties;
}

/** WCAG contrast ratio of two #rrggbb colours. */
export function contrast(one: string, other: string): number {
  const [high, low] = [luminance(one), luminance(other)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

/** WCAG relative luminance of a #rrggbb colour. */
export function luminance(colour: string): number {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const value = parseInt(colour.slice(i, i + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** OKLCH to #rrggbb, clipped to sRGB (Ottosson 2020, https://bottosson.github.io/posts/oklab/). */
function oklch(lightness: number, chroma: number, hue: number): string {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  const channels = linear.map((value) => {
    const clipped = Math.min(1, Math.max(0, value));
    const encoded = clipped <= 0.0031308 ? 12.92 * clipped : 1.055 * clipped ** (1 / 2.4) - 0.055;
    return Math.round(encoded * 255)
      .toString(16)
      .padStart(2, "0");
  });
  return `#${channels.join("")}`;
}
