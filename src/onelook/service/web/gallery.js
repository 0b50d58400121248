// The gallery: its identities as tiles, and the dialog that renames and forgets one.

import { ServiceError, ask, service } from "./api.js";
import { byId, element, say, working } from "./elements.js";
import { dropThumbnails, entryThumbnail, thumbnail } from "./thumbnails.js";
import { complaint, pictures } from "./words.js";

const PAGE = 48; // identities that come at once
const N_SHOWN = 24; // pictures of one identity in its dialog

export class Gallery {
  total = null; // identities; null until known
  #next = null; // the name after which the next page begins
  #opened = ""; // the identity in the dialog

  /** @param {{onChange: () => void}} options Called after a rename or a forget. */
  constructor({ onChange }) {
    this.onChange = onChange;
    byId("more-tiles").addEventListener("click", () => this.#guard(() => this.#more()));
    byId("dialog-close").addEventListener("click", () => byId("identity-dialog").close());
    byId("rename-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#change(() => this.#rename(byId("new-name").value.trim()));
    });
    const join = () => this.#rename(byId("new-name").value.trim(), true);
    byId("join").addEventListener("click", () => this.#change(join));
    byId("forget").addEventListener("click", () => this.#ask(true));
    byId("forget-no").addEventListener("click", () => this.#ask(false));
    byId("forget-yes").addEventListener("click", () => this.#change(() => this.#forget()));
  }

  /** Show the first page again. */
  reload() {
    return this.#guard(async () => {
      dropThumbnails();
      const page = await this.#page("");
      byId("tiles").replaceChildren();
      this.#append(page);
    });
  }

  /** The dialog of one identity. */
  async open(identity) {
    this.#opened = identity;
    byId("dialog-title").textContent = byId("new-name").value = identity;
    byId("dialog-error").textContent = "";
    byId("dialog-pictures").replaceChildren();
    byId("rename-form").hidden = byId("forget").hidden = !service.settings.writable;
    byId("forget-sure").hidden = byId("join").hidden = true;
    byId("identity-dialog").showModal();
    try {
      const { images } = await ask(`v1/identities/${encodeURIComponent(identity)}`);
      const shown = images
        .slice(0, N_SHOWN)
        .map(({ entry }) => entryThumbnail(entry, identity));
      const rest = images.length - shown.length;
      byId("dialog-pictures").replaceChildren(
        ...shown.map((picture) => element("li", {}, picture)),
        ...(rest > 0 ? [element("li", { class: "small" }, `and ${rest} more`)] : []),
      );
      const number = pictures(images.length);
      byId("forget-question").textContent =
        `Forget ${identity} and ${number} for good? This cannot be undone.`;
    } catch (error) {
      this.#complain(error);
    }
  }

  async #more() {
    const first = byId("tiles").children.length;
    this.#append(await this.#page(this.#next));
    byId("tiles").children[first]?.querySelector("button").focus();
  }

  #page(after) {
    return ask(`v1/identities?limit=${PAGE}&after=${encodeURIComponent(after)}`);
  }

  #append({ identities, next, total }) {
    this.total = total;
    this.#next = next;
    byId("tiles").append(...identities.map((each) => this.#tile(each)));
    byId("more-tiles").hidden = next === null;
    byId("gallery-count").textContent = total ? total.toLocaleString("en") : "";
    const status = total ? "" : "Nothing is enrolled yet.";
    say(byId("gallery-status"), status);
  }

  #tile({ identity, images }) {
    return element(
      "li",
      {},
      element(
        "button",
        { type: "button", class: "tile", onclick: () => this.open(identity) },
        thumbnail(identity),
        element("span", { class: "tile-name" }, identity),
        element("span", { class: "small" }, pictures(images)),
      ),
    );
  }

  #ask(isAsked) {
    byId("forget-sure").hidden = !isAsked;
    byId("forget").hidden = isAsked;
    byId(isAsked ? "forget-no" : "forget").focus();
  }

  async #rename(name, join = false) {
    if (name === this.#opened) return "";
    const path = `v1/identities/${encodeURIComponent(this.#opened)}?join=${join}`;
    const { identity, images } = await ask(path, {
      method: "PATCH",
      body: { identity: name },
    });
    return `${this.#opened} is now ${identity}, with ${pictures(images)}.`;
  }

  async #forget() {
    const path = `v1/identities/${encodeURIComponent(this.#opened)}`;
    const { identity, forgotten } = await ask(path, { method: "DELETE" });
    return `${identity} is forgotten: ${pictures(forgotten)}.`;
  }

  /** Change something, close the dialog and say what was done; or say there why not. */
  async #change(action) {
    byId("dialog-error").textContent = "";
    byId("join").hidden = true;
    try {
      const done = await working(byId("identity-dialog"), action);
      byId("identity-dialog").close();
      if (!done) return;
      await this.reload();
      this.onChange();
      say(byId("gallery-status"), done);
    } catch (error) {
      this.#complain(error);
    }
  }

  #complain(error) {
    if (!(error instanceof ServiceError)) throw error;
    const isTaken = error.status === 409;
    byId("dialog-error").textContent = isTaken
      ? `${byId("new-name").value} is already enrolled.`
      : complaint(error);
    byId("join").hidden = !isTaken;
  }

  async #guard(action) {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      say(byId("gallery-status"), complaint(error));
    }
  }
}
