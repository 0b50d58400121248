// Boxes: the faces of a picture, or the drawings of a sheet, marked over it and numbered.

import { svg } from "./elements.js";

const BADGE = 0.024; // radius of a number's disc, as a share of the picture's longer side

/** A drawing of the boxes of an answer of v1/identify/all, to lie over the picture. */
export function boxesOf({ width, height, found }) {
  const radius = BADGE * Math.max(width, height);
  const marks = found.map(({ box, answer }, i) => markOf(box, answer, i + 1, radius));
  const label = `${found.length} boxes, numbered as the answers are`;
  const look = { class: "boxes", viewBox: `0 0 ${width} ${height}`, role: "img" };
  return svg("svg", { ...look, "aria-label": label }, ...marks);
}

function markOf([left, top, right, bottom], answer, number, radius) {
  const size = { x: left, y: top, width: right - left, height: bottom - top };
  const [cx, cy] = [Math.max(left, radius), Math.max(top, radius)];
  const text = { x: cx, y: cy, "font-size": 1.3 * radius };
  return svg(
    "g",
    { class: answer.verdict === "known" ? "box is-known" : "box" },
    svg("title", {}, answer.identity ?? "unknown"),
    svg("rect", { ...size, class: "halo" }),
    svg("rect", { ...size, class: "line" }),
    svg("circle", { cx, cy, r: radius }),
    svg("text", text, String(number)),
  );
}
