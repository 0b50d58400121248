// Identify: who or what is this, of those in the gallery? And: remember this one.

import { ServiceError, ask, service } from "./api.js";
import { Asker } from "./asker.js";
import { byId, element, say } from "./elements.js";
import { Gallery } from "./gallery.js";
import { Slot, takeDropsAndPastes } from "./slot.js";
import { thumbnail } from "./thumbnails.js";
import { capital, complaint, fieldOf, figure, inCases } from "./words.js";
import { percent, pictures, shortPercent } from "./words.js";

const N_MATCHES = 5;

export class Identify {
  view = byId("view-identify");
  status = byId("identify-status");
  name = byId("identity");
  slot = new Slot(byId("probe-slot"), { title: "Your picture", many: true });
  gallery = new Gallery({ onChange: () => this.#changed() });
  #isTyped = false; // whether the name to enroll is the user's own

  constructor() {
    this.asker = new Asker({
      view: this.view,
      status: this.status,
      onAnswer: (answer) => this.#show(answer),
      onRefusal: (error) => this.#refuse(error),
    });
    this.slot.addEventListener("change", () => this.#changed());
    byId("enroll-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#enroll(event.submitter);
    });
    this.name.addEventListener("input", () => (this.#isTyped = this.name.value !== ""));
    service.addEventListener("known", () => this.#known());
    takeDropsAndPastes(this.view, [this.slot]);
    this.#changed();
  }

  #known() {
    const { gallery: hasGallery, writable } = service.settings;
    byId("identify-body").hidden = !hasGallery;
    byId("gallery-hint").textContent = hintOf(hasGallery, writable);
    if (hasGallery && service.model) this.gallery.reload().then(() => this.#changed());
  }

  #changed() {
    const { files, isDrawn } = this.slot;
    this.asker.cancel();
    byId("enroll-error").textContent = "";
    byId("enroll-form").hidden = files.length === 0 || !service.settings?.writable;
    const words = invitation(files.length, this.gallery.total);
    if (words) this.#empty(words);
    else this.asker.soon(`v1/identify?k=${N_MATCHES}`, () => this.#form(), isDrawn);
  }

  #form() {
    const body = new FormData();
    body.append("image", this.slot.files[0]);
    return body;
  }

  #empty(words) {
    delete this.view.dataset.verdict;
    byId("matches").replaceChildren();
    byId("identify-small").textContent = byId("matches-words").textContent = "";
    say(this.status, element("p", { class: "hint" }, words));
  }

  #refuse(error) {
    this.#empty("");
    if (!fieldOf(error)) return false;
    this.slot.complain(complaint(error));
    return true;
  }

  #show(answer) {
    this.slot.complain("");
    this.view.dataset.verdict = answer.verdict || "none";
    const [headline, sentence] = wordsOf(answer);
    say(
      this.status,
      element("p", { class: "verdict" }, headline),
      element("p", { class: "sentence" }, sentence),
    );
    const isKnown = answer.verdict === "known";
    const rows = answer.matches.map((match, i) =>
      matchRow(match, isKnown && i === 0, () => this.gallery.open(match.identity)),
    );
    byId("matches").replaceChildren(...rows);
    const isUnknown = answer.verdict === "unknown" && rows.length > 0;
    byId("matches-words").textContent = isUnknown
      ? "The nearest, all below the threshold:"
      : "";
    byId("identify-small").textContent = smallPrint(answer);
    if (!this.#isTyped) this.name.value = answer.identity ?? "";
  }

  async #enroll(button) {
    const { files } = this.slot;
    const body = new FormData();
    body.append("identity", this.name.value.trim());
    for (const file of files) body.append("images", file, file.name);
    button.disabled = true;
    try {
      const kept = await ask("v1/enroll", { method: "POST", body });
      this.slot.clear();
      this.name.value = "";
      this.#isTyped = false;
      const said = [enrolled(kept), ...kept.warnings.map(poorExample)];
      const lines = said.map((words) => element("p", { class: "sentence" }, words));
      say(this.status, ...lines);
      await this.gallery.reload();
      this.slot.focus();
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      byId("enroll-error").textContent = whichOf(error, files) + complaint(error);
    } finally {
      button.disabled = false;
    }
  }
}

/** Which of several pictures an error means, before the error itself. */
function whichOf(error, files) {
  const place = Number(fieldOf(error).split(" ")[1]);
  return files.length > 1 && files[place - 1] ? `${files[place - 1].name}: ` : "";
}

/** What there is to do before anything can be asked; "" where nothing is. */
function invitation(n_files, n_enrolled) {
  if (n_files > 1) return "Several pictures: give them one name to enroll them together.";
  if (n_files === 1) {
    return n_enrolled === 0
      ? "The gallery is empty. Name this one to enroll it first."
      : "";
  }
  return n_enrolled === 0
    ? "The gallery is empty. Put in a picture or draw one, and name it."
    : "Put in a picture, or draw one. The answer appears by itself.";
}

function hintOf(hasGallery, writable) {
  if (!hasGallery) {
    return "This service runs without a gallery. Start it with one: onelook serve --gallery gallery.db";
  }
  return writable ? "" : "Read-only: you can ask, but not enroll, rename or forget.";
}

function enrolled({ identity, new: n_new, known }) {
  if (n_new === 0)
    return `${identity} has ${known === 1 ? "this picture" : "these pictures"} already.`;
  const also = known ? `; ${known} already enrolled` : "";
  return `Enrolled: ${pictures(n_new)} of ${identity}${also}.`;
}

function poorExample([name, reason]) {
  return `${name} is a poor example: ${reason}.`;
}

/** Headline and sentence of an answer. */
function wordsOf(answer) {
  const [best] = answer.matches;
  if (answer.reason) return ["Unsure", `${answer.reason}.`];
  if (answer.verdict === "unknown") {
    return ["Unknown", "Not enrolled in this gallery."];
  }
  if (answer.verdict === "known") {
    return [
      answer.identity,
      `${capital(percent(best.probability))} sure that this is ${answer.identity}.`,
    ];
  }
  return [
    "Not decided",
    "This model has no threshold, so no match is confirmed. Calibrate it first: onelook calibrate.",
  ];
}

function smallPrint(answer) {
  if (answer.threshold === null || answer.fpir === null) return "";
  const by = answer.extrapolated
    ? ", by extrapolation: no gallery of this size was measured"
    : "";
  return (
    `A name needs a score of ${figure(answer.threshold)}. With ` +
    `${pictures(answer.gallery_size)} enrolled, an unknown one is ` +
    `falsely accepted ${inCases(answer.fpir)}${by}.` +
    (answer.cohort ? ` The score is ${answer.cohort}.` : "")
  );
}

function matchRow(match, isAnswer, onOpen) {
  const meter = element("span", { class: "meter", "aria-hidden": true }, element("span"));
  meter.style.setProperty("--share", `${100 * (match.probability ?? 0)}%`);
  const said = match.probability === null ? "" : shortPercent(match.probability);
  return element(
    "li",
    { class: isAnswer ? "is-answer" : undefined },
    element(
      "button",
      { type: "button", class: "match", onclick: onOpen },
      thumbnail(match.identity),
      element(
        "span",
        { class: "match-words" },
        element("span", { class: "match-name" }, match.identity),
        element("span", { class: "small" }, `score ${figure(match.score)}`),
      ),
      meter,
      element("span", { class: "match-figure" }, said),
    ),
  );
}
