/** The boxes of a scene as its node has them: a line each of left, top, width and height, in percent. */

/** @typedef {{left: number, top: number, width: number, height: number}} Box */

export const SMALLEST = 4; // percent of a side
const MOST_SHARED = 0.02; // of the smaller box; more is an overlap (regions.py)

/** The boxes of a text; side by side where it is empty, null where it cannot be read. @returns {Box[] | null} */
export function parse(text, count) {
  const lines = text.split(/[\n;]/).filter((line) => line.trim());
  if (!lines.length) return columns(count);
  const boxes = lines.map(box);
  return boxes.includes(null) ? null : boxes;
}

/** @param {Box[]} boxes */
export function format(boxes) {
  return boxes.map(({ left, top, width, height }) => [left, top, width, height].map(short).join(" ")).join("\n");
}

/** @returns {Box[]} */
export function columns(count) {
  return Array.from({ length: count }, (_, place) => ({
    left: (place * 100) / count, top: 0, width: 100 / count, height: 100,
  })); // prettier-ignore
}

/** A box moved by so many percent, as far as the picture goes. @param {Box} box @returns {Box} */
export function moved(box, right, down) {
  return {
    ...box,
    left: between(0, Math.round(box.left + right), 100 - box.width),
    top: between(0, Math.round(box.top + down), 100 - box.height),
  };
}

/** A box whose lower right corner is moved. @param {Box} box @returns {Box} */
export function resized(box, right, down) {
  return {
    ...box,
    width: between(SMALLEST, Math.round(box.width + right), 100 - box.left),
    height: between(SMALLEST, Math.round(box.height + down), 100 - box.top),
  };
}

/** Whether each box overlaps another one. @param {Box[]} boxes @returns {boolean[]} */
export function overlapping(boxes) {
  return boxes.map((one) => boxes.some((other) => other !== one && shared(one, other) > MOST_SHARED));
}

function shared(one, other) {
  const width = Math.min(one.left + one.width, other.left + other.width) - Math.max(one.left, other.left);
  const height = Math.min(one.top + one.height, other.top + other.height) - Math.max(one.top, other.top);
  const smaller = Math.min(one.width * one.height, other.width * other.height);
  return (Math.max(0, width) * Math.max(0, height)) / smaller;
}

function box(line) {
  const numbers = line.replaceAll("%", " ").trim().split(/[\s,]+/).map(Number);
  if (numbers.length !== 4 || numbers.some(Number.isNaN)) return null;
  const [left, top, width, height] = numbers;
  const fits = left >= 0 && top >= 0 && width > 0 && height > 0 && left + width <= 100.01 && top + height <= 100.01;
  return fits ? { left, top, width, height } : null;
}

function between(low, value, high) {
  return Math.min(Math.max(low, value), high);
}

/** 33.3333 -> "33.33" */
function short(number) {
  return String(Math.round(100 * number) / 100);
}
