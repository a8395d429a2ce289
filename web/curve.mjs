/** The numbers behind a loss curve: smoothing, range, SVG path. */

/**
 * Exponential running mean over about a fiftieth of the points, as the Loss Chart node draws it
 * (nodes/evaluation/charts.py).
 * @param {number[]} values
 * @returns {number[]}
 */
export function smoothed(values) {
  const keep = 1 - 1 / Math.max(1, values.length / 50);
  let sum = 0;
  let weight = 0;
  return values.map((value) => {
    sum = keep * sum + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return sum / weight;
  });
}

/**
 * The range to draw: all but the highest and lowest fiftieth of the raw values, so that one wild step does not
 * flatten the curve, and the whole of the smoothed ones.
 * @param {number[]} raw
 * @param {number[]} smooth
 * @returns {[number, number]}
 */
export function range(raw, smooth) {
  const sorted = [...raw].sort((a, b) => a - b);
  const cut = Math.floor(sorted.length / 50);
  const low = Math.min(sorted[cut], ...smooth);
  const high = Math.max(sorted[sorted.length - 1 - cut], ...smooth);
  return high > low ? [low, high] : [low - 0.5, high + 0.5]; // a single point, or a flat line
}

/**
 * A line through the values in a box of 100 by 100, the first step on the left edge and the last on the right.
 * @param {number[]} steps
 * @param {number[]} values
 * @param {[number, number]} range
 * @param {number[]} [all] steps of the whole chart, where this line has only some of them
 */
export function path(steps, values, [low, high], all = steps) {
  const first = all[0];
  const span = all[all.length - 1] - first || 1;
  const across = (step) => (100 * (step - first)) / span;
  const down = (value) => 100 - (100 * (value - low)) / (high - low);
  const points = values.map((value, i) => `${across(steps[i]).toFixed(2)} ${down(value).toFixed(2)}`);
  return `M${points.join("L")}${points.length === 1 ? "h0" : ""}`; // a line of no length is drawn as a dot
}
