// Enroll: pictures under one name, sent one by one; what became of each stands beside it.

import { ServiceError, ask } from "./api.js";
import { byId, element, say, working } from "./elements.js";
import { tooMuch } from "./slot.js";
import { complaint, pictures } from "./words.js";

// Answers of HTTP that are about the picture: the others may still be enrolled.
const OF_A_PICTURE = [413, 422];

export class Enroll {
  #form = byId("enroll-form");
  #name = byId("identity");
  #isTyped = false; // whether the name is the user's own

  /**
   * @param {import("./slot.js").Slot} slot Whose pictures are enrolled.
   * @param {() => Promise<void>} onDone Called when all were sent.
   */
  constructor(slot, onDone) {
    Object.assign(this, { slot, onDone });
    this.#name.addEventListener("input", () => (this.#isTyped = this.#name.value !== ""));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      working(this.#form, () => this.#guard());
    });
  }

  /** Offer to enroll the slot's pictures, of which several are listed. */
  offer(isAllowed) {
    const { files } = this.slot;
    this.#form.hidden = files.length === 0 || !isAllowed;
    byId("enroll-error").textContent = "";
    byId("enroll-title").textContent = files.length > 1 ? "Enroll them" : "Enroll it";
    if (files.length) this.#list(files.length > 1 && isAllowed ? files : []);
  }

  /** A name to begin with, unless one was typed. */
  suggest(name) {
    if (!this.#isTyped) this.#name.value = name;
  }

  #list(files) {
    const rows = files.map(rowOf);
    byId("outcomes").replaceChildren(...rows);
    return rows;
  }

  async #guard() {
    try {
      await this.#send(this.#name.value.trim());
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      byId("enroll-error").textContent = complaint(error);
    }
  }

  async #send(identity) {
    const { files } = this.slot;
    const rows = this.#list(files);
    const counts = { new: 0, poor: 0, known: 0, refused: 0 };
    for (const [i, file] of files.entries()) {
      const at = files.length > 1 ? `: ${i + 1} of ${files.length}` : "";
      const pending = element("p", { class: "hint pending" }, `Enrolling${at}…`);
      say(byId("identify-status"), pending);
      const [outcome, words] = await sent(identity, file);
      counts[outcome] += 1;
      rows[i].dataset.outcome = outcome;
      rows[i].querySelector(".small").textContent = words;
    }
    this.#name.value = "";
    this.#isTyped = false;
    this.slot.clear();
    const summary = element("p", { class: "sentence" }, summaryOf(identity, counts));
    say(byId("identify-status"), summary);
    await this.onDone();
    this.slot.focus();
  }
}

/** Enroll one picture: "new", "poor", "known" or "refused", and that in words. */
async function sent(identity, file) {
  const tooLarge = tooMuch([file]);
  if (tooLarge) return ["refused", tooLarge];
  const body = new FormData();
  body.append("identity", identity);
  body.append("images", file, file.name);
  try {
    const kept = await ask("v1/enroll", { method: "POST", body });
    const [warning] = kept.warnings;
    if (warning) return ["poor", `Enrolled, but a poor example: ${warning[1]}.`];
    return kept.new ? ["new", "Enrolled."] : ["known", "Enrolled already."];
  } catch (error) {
    if (!OF_A_PICTURE.includes(error.status)) throw error;
    return ["refused", complaint(error)];
  }
}

function rowOf(file) {
  const address = URL.createObjectURL(file);
  const onload = () => URL.revokeObjectURL(address);
  const onerror = (event) => (event.target.style.visibility = "hidden");
  return element(
    "li",
    {},
    element("img", { src: address, alt: "", onload, onerror }),
    element("span", { class: "outcome-name" }, file.name),
    element("span", { class: "small" }),
  );
}

function summaryOf(identity, counts) {
  const n_new = counts.new + counts.poor;
  const refused = counts.refused ? `${pictures(counts.refused)} refused` : "";
  if (n_new === 0) {
    if (refused) return `Nothing enrolled: ${refused}.`;
    return `${identity} has ${counts.known === 1 ? "this picture" : "these pictures"} already.`;
  }
  const also = [counts.known && `${counts.known} already enrolled`, refused];
  const rest = also.filter(Boolean).map((words) => `; ${words}`);
  return `Enrolled: ${pictures(n_new)} of ${identity}${rest.join("")}.`;
}
