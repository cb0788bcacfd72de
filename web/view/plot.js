// What the canvases with time from left to right share: scales, steps of their labels, and lines of very many points.

import { timeOfDay } from "../market.js";

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200]; // seconds
const DAY = 86400;
const LABEL = 90; // pixels between labels of time, at least

/** @param {{top: number, bottom: number}} area @param {number} low @param {number} high @returns {(value: number) => number} */
export function span(area, low, high) {
  const factor = (area.bottom - area.top) / Math.max(high - low, 1e-9);
  return (value) => area.bottom - (value - low) * factor;
}

/** A step of 1, 2 or 5 times a power of ten, and whole ticks. @param {number} least @param {number} tick */
export function nice(least, tick) {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-9)));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= least) ?? 10 * power;
  return Math.max(step, tick);
}

/** The first of the points, in order of time, that is at or after a time. @param {Float64Array} times @param {number} size @param {number} time */
export function findTime(times, size, time) {
  let low = 0;
  let high = size;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Lines at round times, with the time below.
 * @param {CanvasRenderingContext2D} pen @param {Record<string, string>} colours @param {number} from @param {number} to ms
 * @param {(time: number) => number} x @param {number} right @param {number} top @param {number} end
 */
export function timeGrid(pen, colours, from, to, x, right, top, end) {
  const seconds = STEPS.find((size) => (to - from) / 1000 / size <= right / LABEL) ?? DAY;
  pen.strokeStyle = colours.grid;
  pen.fillStyle = colours.quiet;
  pen.lineWidth = 1;
  for (let time = Math.ceil(from / 1000 / seconds) * seconds * 1000; time <= to; time += seconds * 1000) {
    const at = Math.round(x(time)) + 0.5;
    pen.beginPath();
    pen.moveTo(at, top);
    pen.lineTo(at, end);
    pen.stroke();
    const label = timeOfDay(time);
    const wide = pen.measureText(label).width;
    if (at - wide / 2 > 0 && at + wide / 2 < right) pen.fillText(label, at - wide / 2, end + 12);
  }
}

/**
 * A line through points: of those that share a pixel's width only the lowest and the highest, and where the value stays the
 * same only the ends. Buckets begin at fixed times, so that a line that moves keeps its form. NaN breaks it.
 * @param {CanvasRenderingContext2D} pen with colour and width @param {Float64Array} time @param {Float64Array} column
 * @param {number} first @param {number} size @param {(time: number) => number} x @param {(value: number) => number} y
 */
export function line(pen, time, column, first, size, x, y) {
  const bucketMs = 1 / Math.max(1e-9, x(1) - x(0));
  pen.lineJoin = "bevel";
  pen.beginPath();
  let down = false;
  let last = NaN; // the value that the line has reached
  let skipped = -1; // the newest point that is left out because it has the same one
  const to = (/** @type {number} */ at) => {
    if (!down) pen.moveTo(x(time[at]), y(column[at]));
    else if (column[at] === last) {
      skipped = at;
      return;
    } else {
      if (skipped >= 0) pen.lineTo(x(time[skipped]), y(last));
      pen.lineTo(x(time[at]), y(column[at]));
    }
    skipped = -1;
    down = true;
    last = column[at];
  };
  for (let at = first; at < size; ) {
    if (Number.isNaN(column[at])) {
      if (skipped >= 0) pen.lineTo(x(time[skipped]), y(last));
      skipped = -1;
      down = false;
      at += 1;
      continue;
    }
    const until = (Math.floor(time[at] / bucketMs) + 1) * bucketMs;
    let [low, high] = [at, at];
    for (at += 1; at < size && time[at] < until && !Number.isNaN(column[at]); at++) {
      if (column[at] < column[low]) low = at;
      if (column[at] >= column[high]) high = at;
    }
    to(Math.min(low, high));
    if (low !== high) to(Math.max(low, high));
  }
  if (down && skipped >= 0) pen.lineTo(x(time[skipped]), y(last));
  pen.stroke();
}
