// The Markdown of a model card as elements. Never as HTML: a card is a file from somewhere.

import { element } from "./elements.js";

const BLOCKS = [
  [/^```/, fence],
  [/^#{1,6}\s/, heading],
  [/^\s*\|/, table],
  [/^\s*[-*]\s/, (lines) => list(lines, "ul", /^\s*[-*]\s/)],
  [/^\s*\d+\.\s/, (lines) => list(lines, "ol", /^\s*\d+\.\s/)],
];

/**
 * Headings, paragraphs, lists, tables, code, emphasis and links to the web.
 * @param {string} text
 * @returns {HTMLElement[]}
 */
export function fromMarkdown(text) {
  const lines = text.replace(/\r/g, "").split("\n");
  const blocks = [];
  while (lines.length) {
    if (lines[0].trim() === "") {
      lines.shift();
      continue;
    }
    const [, read] = BLOCKS.find(([start]) => start.test(lines[0])) ?? [null, paragraph];
    blocks.push(read(lines));
  }
  return blocks;
}

function startsBlock(line) {
  return line.trim() === "" || BLOCKS.some(([start]) => start.test(line));
}

function paragraph(lines) {
  const words = [lines.shift()];
  while (lines.length && !startsBlock(lines[0])) words.push(lines.shift());
  return element("p", {}, ...inline(words.join(" ")));
}

function heading(lines) {
  const [, marks, words] = lines.shift().match(/^(#+)\s+(.*)$/) ?? [null, "#", ""];
  // The page has h1 and h2 of its own.
  return element(`h${Math.min(marks.length + 2, 6)}`, {}, ...inline(words));
}

function fence(lines) {
  lines.shift();
  const code = [];
  while (lines.length && !lines[0].startsWith("```")) code.push(lines.shift());
  lines.shift();
  return element("pre", { tabindex: 0 }, element("code", {}, code.join("\n")));
}

function list(lines, name, mark) {
  const items = [];
  while (lines.length && mark.test(lines[0])) {
    const words = [lines.shift().replace(mark, "")];
    while (lines.length && !startsBlock(lines[0])) words.push(lines.shift().trim());
    items.push(element("li", {}, ...inline(words.join(" "))));
  }
  return element(name, {}, ...items);
}

function table(lines) {
  const rows = [];
  while (lines.length && /^\s*\|/.test(lines[0])) rows.push(cellsOf(lines.shift()));
  const isRuled = rows.length > 1 && rows[1].every((cell) => /^:?-+:?$/.test(cell));
  const [head, body] = isRuled ? [rows[0], rows.slice(2)] : [null, rows];
  const row = (cells, name) =>
    element("tr", {}, ...cells.map((cell) => element(name, {}, ...inline(cell))));
  const content = element(
    "table",
    { class: rows[0].length > 3 && "wide" },
    element("tbody", {}, ...body.map((cells) => row(cells, "td"))),
  );
  if (head?.some((cell) => cell)) content.prepend(element("thead", {}, row(head, "th")));
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table" },
    content,
  );
}

function cellsOf(line) {
  return line
    .trim()
    .replace(/^\||\|$/g, "")
    .split("|")
    .map((cell) => cell.trim());
}

/** Code, bold, emphasis and links inside a line. */
function inline(text) {
  const parts = text.split(
    /(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*|\[[^\]]+\]\(https?:[^)\s]+\))/,
  );
  return parts.map((part) => {
    if (/^`.+`$/.test(part)) return element("code", {}, part.slice(1, -1));
    if (/^\*\*.+\*\*$/.test(part)) return element("strong", {}, part.slice(2, -2));
    if (/^\*.+\*$/.test(part)) return element("em", {}, part.slice(1, -1));
    const link = part.match(/^\[([^\]]+)\]\((https?:[^)\s]+)\)$/);
    if (!link) return part;
    return element(
      "a",
      { href: link[2], rel: "noopener noreferrer", target: "_blank" },
      link[1],
    );
  });
}
