// Thumbnails of enrolled pictures, fetched when they come into sight.

import { ServiceError, ask } from "./api.js";
import { element } from "./elements.js";

const addresses = new Map(); // path of the service: a promise of a blob: address

const watcher = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      load(target);
    }
  },
  { rootMargin: "200px" },
);

/** A picture of an identity; its initial stands there until, or where there is none. */
export function thumbnail(identity) {
  return framed(`v1/thumbnails/${encodeURIComponent(identity)}`, identity);
}

/** A picture of one entry. */
export function entryThumbnail(entry, identity) {
  return framed(`v1/entries/${entry}/thumbnail`, identity);
}

/** Let go of all pictures: what was forgotten must not stay in this page either. */
export function dropThumbnails() {
  for (const address of addresses.values()) address.then(URL.revokeObjectURL, () => {});
  addresses.clear();
}

function framed(path, identity) {
  const initial = [...identity][0]?.toUpperCase() ?? "?";
  const frame = element("span", { class: "thumbnail", "aria-hidden": true }, initial);
  frame.dataset.path = path;
  watcher.observe(frame);
  return frame;
}

async function load(frame) {
  const { path } = frame.dataset;
  if (!addresses.has(path)) {
    addresses.set(path, ask(path, { as: "blob" }).then(URL.createObjectURL));
  }
  try {
    frame.replaceChildren(element("img", { src: await addresses.get(path), alt: "" }));
  } catch (error) {
    addresses.delete(path);
    if (!(error instanceof ServiceError)) throw error;
    // No thumbnail was kept, such as of imported embeddings: the initial stays.
  }
}
