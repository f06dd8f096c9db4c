// Numbers as people read them. A missing number is an en dash, never 0.

export const NONE = "–";

/** Whole numbers with thousands separators. */
export function count(value: number | null | undefined): string {
  return value == null ? NONE : value.toLocaleString("en-US");
}

/** `digits` significant digits, without exponents for ordinary sizes. */
export function figure(value: number | null | undefined, digits = 3): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return minus(value.toExponential(digits - 1).replace("e+", "e"));
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return minus(value.toLocaleString("en-US", { minimumFractionDigits: 0, maximumFractionDigits: decimals }));
}

/** A share as per cent. */
export function percent(value: number | null | undefined, digits = 3): string {
  return value == null || !Number.isFinite(value) ? NONE : `${figure(value * 100, digits)} %`;
}

/** How rare something is: `1 in 238`. */
export function oneIn(density: number | null): string {
  if (!density) return "never";
  return density > 0.5 ? percent(density) : `1 in ${figure(1 / density, 1 / density < 10 ? 2 : 3)}`;
}

/** Seconds as `4.2 s`, `3 min 05 s` or `1 h 12 min`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return NONE;
  if (seconds < 60) return `${figure(seconds, seconds < 10 ? 2 : 3)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/** Bytes in decimal units. */
export function size(bytes: number | null | undefined): string {
  if (bytes == null) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(bytes, 1)) / 3)));
  return `${figure(bytes / 10 ** (3 * power), 3)} ${units[power]}`;
}

/** An interval as `[0.31, 0.55]`; an end that was not measured reads as unbounded; a common per-cent sign is said once. */
export function interval(low: number | null, high: number | null, format: (value: number) => string = figure): string {
  if (low == null && high == null) return "no interval";
  const [from, to] = [low == null ? "−∞" : format(low), high == null ? "∞" : format(high)];
  return from.endsWith(" %") && to.endsWith(" %") ? `[${from.slice(0, -2)}, ${to.slice(0, -2)}] %` : `[${from}, ${to}]`;
}

function minus(text: string): string {
  return text.replace("-", "−");
}
