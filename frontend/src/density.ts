// Densities on a log axis: bins, ticks and places shared by the map and its histogram.

export interface LogAxis {
  low: number;
  high: number;
}

/** Whole decades that hold every positive value; one decade when there is none. */
export function logAxis(values: Iterable<number | null>): LogAxis {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null || !(value > 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return { low: -1, high: 0 };
  const [floor, ceiling] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)) + 0]; // + 0: never −0
  return { low: floor, high: Math.max(ceiling, floor + 1) };
}

/** Place of a positive value on the axis: 0 at its low end, 1 at its high end. */
export function logPlace(value: number, axis: LogAxis): number {
  return (Math.log10(value) - axis.low) / (axis.high - axis.low);
}

/** Number of values per bin, `perDecade` bins to a decade; what is not positive is left out. */
export function logBins(values: Iterable<number | null>, axis: LogAxis, perDecade: number): number[] {
  const n = Math.round((axis.high - axis.low) * perDecade);
  const bins = new Array<number>(n).fill(0);
  for (const value of values) {
    if (value === null || !(value > 0)) continue;
    const place = Math.floor(logPlace(value, axis) * n + 1e-9);
    bins[Math.min(n - 1, Math.max(0, place))]! += 1;
  }
  return bins;
}

/** Powers of ten on the axis. */
export function decades(axis: LogAxis): number[] {
  return Array.from({ length: axis.high - axis.low + 1 }, (_, i) => axis.low + i);
}
