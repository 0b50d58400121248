// The two plots of the model view, as SVG: scores of same and different pairs, and the ROC.

import { svg } from "./elements.js";
import { rate } from "./words.js";

const HEIGHT = 240;
const EDGE = { left: 14, right: 14, top: 12, bottom: 46 };
const ROC_EDGE = { left: 52, right: 26, top: 12, bottom: 46 };
const SMALLEST_FAR = 1e-4;

/** Where the histogram's scores lie on a drawing of this width: the slider follows it. */
export const HISTOGRAM_EDGE = EDGE.left;

/**
 * Shares of same and different pairs by score, the errors of a threshold filled.
 * @param {{edges: number[], same: number[], different: number[]}} histogram
 * @param {number} threshold
 * @param {number} width In pixels.
 */
export function drawHistogram(histogram, threshold, width) {
  const { edges, same, different } = histogram;
  const x = scale(edges[0], edges.at(-1), EDGE.left, width - EDGE.right);
  const y = scale(0, Math.max(...same, ...different), HEIGHT - EDGE.bottom, EDGE.top);
  const at = Math.min(width - EDGE.right, Math.max(EDGE.left, x(threshold)));
  const clip = (id, x, end) => {
    const size = { x, y: 0, width: Math.max(0, end - x), height: HEIGHT };
    return svg("clipPath", { id }, svg("rect", size));
  };
  const area = (shares, name, path) =>
    svg("path", { d: steps(edges, shares, x, y), class: name, "clip-path": path });
  const foot = HEIGHT - EDGE.bottom + 20;
  return frame(width, "Shares of same and of different pairs by their score", [
    svg("defs", {}, clip("below", 0, at), clip("above", at, width)),
    area(different, "area different"),
    area(same, "area same"),
    area(different, "area different wrong", "url(#above)"),
    area(same, "area same wrong", "url(#below)"),
    line(EDGE.left, y(0), width - EDGE.right, y(0), "axis"),
    line(at, EDGE.top, at, y(0), "threshold"),
    ...ticks(edges[0], edges.at(-1), Math.max(3, Math.floor(width / 110))).map((value) =>
      text(x(value), foot, String(value).replace("-", "\u2212"), "tick-label middle"),
    ),
    text(width / 2, HEIGHT - 6, "score", "axis-label middle"),
  ]);
}

/**
 * Same pairs accepted against different pairs accepted, the latter on a logarithmic axis.
 * @param {{far: number[], frr: number[]}} curve
 * @param {[number, number]} point FAR and FRR of the threshold.
 * @param {number} width In pixels.
 */
export function drawRoc({ far, frr }, point, width) {
  const tar = frr.map((share) => 1 - share);
  const x = (share) => {
    const decades = Math.log10(Math.max(share, SMALLEST_FAR) / SMALLEST_FAR);
    const all = -Math.log10(SMALLEST_FAR);
    return ROC_EDGE.left + (decades / all) * (width - ROC_EDGE.left - ROC_EDGE.right);
  };
  const lowest = Math.min(...tar.filter((_, i) => far[i] >= 0.001), 0.9);
  const low = Math.floor(10 * lowest) / 10;
  const y = scale(low, 1, HEIGHT - ROC_EDGE.bottom, ROC_EDGE.top);
  const order = far
    .map((_, i) => i)
    .filter((i) => tar[i] >= low)
    .sort((a, b) => far[a] - far[b] || tar[a] - tar[b]);
  const path = order.map(
    (i, n) => `${n ? "L" : "M"}${x(far[i]).toFixed(1)} ${y(tar[i]).toFixed(1)}`,
  );
  const middle = (width + ROC_EDGE.left) / 2;
  const levels = [low, (low + 1) / 2, 1];
  return frame(width, "Same pairs accepted against different pairs accepted", [
    ...levels.map((share) =>
      line(ROC_EDGE.left, y(share), width - ROC_EDGE.right, y(share), "grid"),
    ),
    ...levels.map((share) =>
      text(ROC_EDGE.left - 8, y(share) + 4, rate(share), "tick-label end"),
    ),
    ...[0.0001, 0.001, 0.01, 0.1, 1].map((share) =>
      text(x(share), HEIGHT - ROC_EDGE.bottom + 20, rate(share), "tick-label middle"),
    ),
    text(middle, HEIGHT - 6, "different pairs accepted (FAR)", "axis-label middle"),
    svg("path", { d: path.join(""), class: "curve" }),
    svg("circle", { cx: x(point[0]), cy: y(Math.max(low, 1 - point[1])), r: 6, class: "point" }),
  ]);
}

/** The value at `x` of a curve through points (xs rising, ys), straight in between. */
export function interpolate(xs, ys, x) {
  if (x <= xs[0]) return ys[0];
  const after = xs.findIndex((value) => value >= x);
  if (after === -1) return ys.at(-1);
  const span = xs[after] - xs[after - 1];
  const share = span === 0 ? 1 : (x - xs[after - 1]) / span;
  return ys[after - 1] + share * (ys[after] - ys[after - 1]);
}

function frame(width, label, children) {
  const look = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img" };
  return svg("svg", { ...look, "aria-label": label }, ...children);
}

function scale(from, to, start, end) {
  return (value) => start + ((value - from) / (to - from || 1)) * (end - start);
}

function steps(edges, shares, x, y) {
  const corners = shares.map(
    (share, i) =>
      `L${x(edges[i]).toFixed(1)} ${y(share).toFixed(1)}H${x(edges[i + 1]).toFixed(1)}`,
  );
  return `M${x(edges[0])} ${y(0)}${corners.join("")}V${y(0)}Z`;
}

function line(x1, y1, x2, y2, name) {
  return svg("line", { x1, y1, x2, y2, class: name });
}

function text(x, y, words, name) {
  return svg("text", { x, y, class: name }, words);
}

/** About n round numbers from low to high. */
function ticks(low, high, n) {
  const rough = (high - low) / n;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 2.5, 5, 10].find((factor) => factor * unit >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++)
    found.push(Number((i * step).toPrecision(6)));
  return found;
}
