// Small helpers for building the page's elements; text is always set as text.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/**
 * A new element.
 * @param {string} name
 * @param {Record<string, unknown>} attributes `class`, `aria-…`, listeners as `onclick`.
 * @param {...(Node | string)} children
 */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** A new element of a drawing. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children);
  return node;
}

/** Do something that takes time; meanwhile no button of a place can be pressed. */
export async function working(place, action) {
  const buttons = [...place.querySelectorAll("button:enabled")];
  const focused = document.activeElement;
  for (const button of buttons) button.disabled = true;
  place.setAttribute("aria-busy", "true");
  try {
    return await action();
  } finally {
    place.removeAttribute("aria-busy");
    for (const button of buttons) button.disabled = false;
    // A disabled button loses the focus.
    if (place.contains(focused) && document.activeElement === document.body) focused.focus();
  }
}

/** Say something in a live region: nothing happens when it says so already. */
export function say(node, ...children) {
  const next = element("div", {}, ...children);
  if (!sameNodes(node, next)) node.replaceChildren(...next.childNodes);
}

function sameNodes(left, right) {
  return (
    left.childNodes.length === right.childNodes.length &&
    [...left.childNodes].every((child, i) => child.isEqualNode(right.childNodes[i]))
  );
}
