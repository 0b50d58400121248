// A slot: the place for one picture (or several of one thing) that is dropped, chosen,
// pasted, photographed or drawn.

import { service } from "./api.js";
import { Drawing } from "./drawing.js";
import { bytes, pictures } from "./words.js";

const FORM_BYTES = 4096; // of a request beside its files

const LABELS = {
  ...{ choose: "Choose a file", photograph: "Photograph", draw: "Draw", remove: "Remove" },
  ...{ undo: "Undo the last stroke", clear: "Clear the drawing" },
  ...{ fileInput: "File", photoInput: "Photograph" },
};

/** Event "change" when its pictures changed; `isDrawn` says whether a hand is at work. */
export class Slot extends EventTarget {
  files = [];
  #address = ""; // blob: address of the picture that is shown
  #drawing;
  #parts;

  /**
   * @param {HTMLElement} host Replaced by the slot.
   * @param {{title: string, many?: boolean}} options
   */
  constructor(host, { title, many = false }) {
    super();
    const copy = document.getElementById("slot-template").content.cloneNode(true);
    this.element = copy.querySelector(".slot");
    this.title = title;
    this.many = many;
    const part = (name) => this.element.querySelector(`.${name}`);
    this.#parts = {
      picture: part("slot-picture"),
      name: part("slot-name"),
      canvas: part("slot-canvas"),
      error: part("error"),
      fileInput: part("file-input"),
      photoInput: part("photo-input"),
      undo: part("undo"),
      clear: part("clear"),
      remove: part("remove"),
      choose: part("choose"),
      photograph: part("photograph"),
      draw: part("draw"),
      tools: part("slot-tools"),
    };
    part("slot-title").textContent = title;
    this.#label();
    this.#drawing = new Drawing(this.#parts.canvas, () => this.#drawn());
    this.#listen();
    host.replaceWith(this.element);
  }

  get isDrawn() {
    return this.element.dataset.state === "drawing";
  }

  get isEmpty() {
    return this.files.length === 0 && !this.isDrawn;
  }

  get hasFocus() {
    return this.element.contains(document.activeElement);
  }

  /** Take files; a slot for one picture takes the first. */
  take(files) {
    const taken = this.many ? [...files] : [...files].slice(0, 1);
    if (taken.length === 0) return;
    this.#reset();
    const refused = this.many ? "" : tooMuch(taken);
    if (!refused) {
      this.files = taken;
      this.#show();
    }
    this.#changed();
    this.complain(refused);
  }

  clear() {
    this.#reset();
    this.#changed();
  }

  /** Lay something over the picture, until there is another; null takes it away. */
  cover(layer) {
    this.element.querySelector(".boxes")?.remove();
    if (layer) this.#parts.picture.after(layer);
  }

  complain(message) {
    this.#parts.error.textContent = message;
    this.element.classList.toggle("bad", message !== "");
  }

  focus() {
    const { choose, remove } = this.#parts;
    (remove.hidden ? choose : remove).focus();
  }

  #label() {
    const { canvas, fileInput } = this.#parts;
    const name = this.title.toLowerCase();
    for (const [part, words] of Object.entries(LABELS)) {
      this.#parts[part].setAttribute("aria-label", `${words}: ${name}`);
    }
    const sheet = `Sheet to draw on: ${name}. Without a pointer, choose a file.`;
    canvas.setAttribute("aria-label", sheet);
    fileInput.multiple = this.many;
  }

  #listen() {
    const { choose, photograph, draw, undo, clear, remove, fileInput, photoInput } =
      this.#parts;
    choose.addEventListener("click", () => fileInput.click());
    photograph.addEventListener("click", () => photoInput.click());
    for (const input of [fileInput, photoInput]) {
      input.addEventListener("change", () => {
        this.take(input.files);
        input.value = ""; // so that the same file can be chosen again
        this.focus();
      });
    }
    draw.addEventListener("click", () => this.#draw());
    undo.addEventListener("click", () => this.#drawing.undo());
    clear.addEventListener("click", () => this.#drawing.clear());
    remove.addEventListener("click", () => {
      this.clear();
      choose.focus();
    });
    this.#parts.picture.addEventListener("error", () => this.#showName());
    this.element.addEventListener("dragover", () => this.element.classList.add("over"));
    for (const name of ["dragleave", "drop"]) {
      this.element.addEventListener(name, () => this.element.classList.remove("over"));
    }
    this.element.addEventListener("keydown", (event) => {
      if (this.isDrawn && event.key === "z" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.#drawing.undo();
      }
    });
  }

  #draw() {
    this.#reset();
    const { canvas, tools, remove } = this.#parts;
    this.element.dataset.state = "drawing";
    canvas.hidden = tools.hidden = remove.hidden = false;
    this.#drawing.clear();
    remove.focus();
  }

  async #drawn() {
    if (!this.isDrawn) return;
    const { undo, clear } = this.#parts;
    undo.disabled = clear.disabled = this.#drawing.isEmpty;
    this.complain("");
    const file = this.#drawing.isEmpty ? null : await this.#drawing.toFile();
    if (!this.isDrawn) return;
    this.files = file ? [file] : [];
    this.#changed();
  }

  #show() {
    const { picture, remove } = this.#parts;
    const [first] = this.files;
    this.#address = URL.createObjectURL(first);
    picture.src = this.#address;
    picture.alt = `${this.title}: ${first.name}`;
    picture.hidden = remove.hidden = false;
    this.element.dataset.state = "picture";
    if (this.files.length > 1) {
      this.#parts.name.textContent = pictures(this.files.length);
      this.#parts.name.hidden = false;
    }
  }

  /** For what the browser cannot show, such as TIFF; the service may still read it. */
  #showName() {
    if (!this.#address) return;
    this.#parts.picture.hidden = true;
    this.#parts.name.textContent = this.files[0]?.name ?? "";
    this.#parts.name.hidden = false;
  }

  #reset() {
    const { picture, name, canvas, tools, remove } = this.#parts;
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = "";
    this.cover(null);
    this.files = [];
    this.element.dataset.state = "empty";
    picture.removeAttribute("src");
    for (const part of [picture, name, canvas, tools, remove]) part.hidden = true;
    this.complain("");
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * Why files are more than the service takes in one request; "" where they are not.
 * Checked here too, since a refused upload often looks like a broken connection.
 */
export function tooMuch(files) {
  const { max_bytes, max_images } = service.settings ?? {};
  const total = files.reduce((sum, file) => sum + file.size, 0);
  if (files.length > max_images) {
    return `${files.length} pictures; this service takes ${max_images} at once.`;
  }
  if (!(total > max_bytes - FORM_BYTES)) return "";
  const which = files.length === 1 ? `${files[0].name} has` : "Together these have";
  return (
    `${which} ${bytes(total)}; this service takes ${bytes(max_bytes)}. ` +
    "Make the picture smaller or choose another."
  );
}

/**
 * Let a view's slots take what is dropped anywhere or pasted while the view is shown.
 * @param {HTMLElement} view
 * @param {Slot[]} slots
 */
export function takeDropsAndPastes(view, slots) {
  // Without this a picture that misses a slot replaces the page.
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    if (view.hidden) return;
    const aimed = slots.find((slot) => slot.element.contains(event.target));
    share(event.dataTransfer.files, slots, aimed);
    if (event.dataTransfer.files.length === 0) {
      (aimed ?? slots[0]).complain(
        "This is not a file. Save the picture first, then drop it.",
      );
    }
  });
  window.addEventListener("paste", (event) => {
    if (view.hidden || event.clipboardData.files.length === 0) return;
    event.preventDefault();
    share(
      event.clipboardData.files,
      slots,
      slots.find((slot) => slot.hasFocus),
    );
  });
}

/** One file for the slot that was meant, else for the first empty one; two fill both. */
function share(files, slots, aimed) {
  const first = aimed ?? slots.find((slot) => slot.isEmpty) ?? slots.at(-1);
  if (slots.length === 1 || files.length === 1) first.take(files);
  else slots.forEach((slot, i) => files[i] && slot.take([files[i]]));
}
