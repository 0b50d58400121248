// Identify: who or what is this, of those in the gallery? And: remember this one.

import { service } from "./api.js";
import { Asker } from "./asker.js";
import { boxesOf } from "./boxes.js";
import { byId, element, say } from "./elements.js";
import { Enroll } from "./enroll.js";
import { Gallery } from "./gallery.js";
import { Slot, takeDropsAndPastes } from "./slot.js";
import { thumbnail } from "./thumbnails.js";
import { answeredBy, capital, complaint, fieldOf, figure, inCases } from "./words.js";
import { percent, pictures, shortPercent } from "./words.js";

const N_MATCHES = 5;
// What a model may look for in a picture, one and several.
const PARTS = { face: ["face", "faces"], drawing: ["drawing", "drawings"] };

export class Identify {
  view = byId("view-identify");
  status = byId("identify-status");
  choice = byId("whole-choice");
  slot = new Slot(byId("probe-slot"), { title: "Your picture", many: true });
  gallery = new Gallery({ onChange: () => this.#changed() });
  enroll = new Enroll(this.slot, () => this.gallery.reload());

  constructor() {
    this.asker = new Asker({
      view: this.view,
      status: this.status,
      onAnswer: (answer) => (answer.found ? this.#showEach(answer) : this.#show(answer)),
      onRefusal: (error) => this.#refuse(error),
      pending: "Looking through the gallery…",
    });
    this.slot.addEventListener("change", () => this.#changed());
    this.choice.addEventListener("change", () => this.#changed());
    service.addEventListener("known", () => this.#known());
    takeDropsAndPastes(this.view, [this.slot]);
    this.#changed();
  }

  #known() {
    const { gallery: hasGallery, writable } = service.settings;
    byId("identify-body").hidden = !hasGallery;
    byId("gallery-hint").textContent = hintOf(hasGallery, writable);
    const part = PARTS[service.model?.subject];
    byId("each-words").textContent = part ? `Every ${part[0]}` : "";
    if (hasGallery && service.model) this.gallery.reload().then(() => this.#changed());
  }

  #changed() {
    const { files, isDrawn } = this.slot;
    const isOne = files.length === 1 && this.gallery.total > 0;
    this.asker.cancel();
    this.slot.cover(null);
    this.choice.hidden = !isOne || isDrawn || !PARTS[service.model?.subject];
    const isEach = !this.choice.hidden && this.choice.querySelector("[value=each]").checked;
    this.enroll.offer(service.settings?.writable && !isEach);
    const words = invitation(files.length, this.gallery.total);
    if (words) return this.#empty(words);
    const path = isEach ? "v1/identify/all?k=1" : `v1/identify?k=${N_MATCHES}`;
    this.asker.soon(path, () => this.#form(), isDrawn);
  }

  #form() {
    const body = new FormData();
    body.append("image", this.slot.files[0]);
    return body;
  }

  #empty(words) {
    delete this.view.dataset.verdict;
    this.#list([], false);
    this.enroll.suggest("");
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
    this.#say(answer.verdict || "none", ...wordsOf(answer));
    const isKnown = answer.verdict === "known";
    const rows = answer.matches.map((match, i) => this.#row(match, isKnown && i === 0));
    this.#list(rows, false);
    const isUnknown = answer.verdict === "unknown" && rows.length > 0;
    byId("matches-words").textContent = isUnknown
      ? "The nearest, all below the threshold:"
      : "";
    byId("identify-small").textContent = smallPrint(answer);
    this.enroll.suggest(answer.identity ?? "");
  }

  /** The answers for all faces or drawings, numbered as their boxes are. */
  #showEach(seen) {
    const { found, n_left_out: nLeftOut } = seen;
    const names = found.map(({ answer }) => answer.identity).filter(Boolean);
    const [one, many] = PARTS[service.model.subject];
    const counted = `${found.length} ${found.length === 1 ? one : many}`;
    const rest = nLeftOut ? `; ${nLeftOut} smaller ones were left out` : "";
    this.#say("none", counted, `${names.length} of them known${rest}.`);
    this.slot.cover(boxesOf(seen));
    const rows = found.map(({ answer }) => {
      const isKnown = answer.verdict === "known";
      const name = isKnown ? answer.identity : capital(answer.verdict || "not decided");
      return this.#row(answer.matches[0], isKnown, name);
    });
    this.#list(rows, true);
    byId("matches-words").textContent = "From left to right, each with its nearest:";
    byId("identify-small").textContent = smallPrint(found[0].answer);
  }

  #list(rows, isNumbered) {
    byId("matches").classList.toggle("each-of", isNumbered);
    byId("matches").replaceChildren(...rows);
  }

  #say(verdict, headline, sentence) {
    this.slot.complain("");
    this.view.dataset.verdict = verdict;
    say(
      this.status,
      element("p", { class: "verdict" }, headline),
      element("p", { class: "sentence" }, sentence),
    );
  }

  /** One match; `name` is what stands there where that is not the match's own. */
  #row(match, isAnswer, name = match.identity) {
    const nearest = name === match.identity ? "" : `nearest ${match.identity}, `;
    const meter = element("span", { class: "meter", "aria-hidden": true }, element("span"));
    meter.style.setProperty("--share", `${100 * (match.probability ?? 0)}%`);
    const said = match.probability === null ? "" : shortPercent(match.probability);
    const words = [
      element("span", { class: "match-name" }, name),
      element("span", { class: "small" }, `${nearest}score ${figure(match.score)}`),
    ];
    const onclick = () => this.gallery.open(match.identity);
    const parts = [
      thumbnail(match.identity),
      element("span", { class: "match-words" }, ...words),
      meter,
      element("span", { class: "match-figure" }, said),
    ];
    const button = element("button", { type: "button", class: "match", onclick }, ...parts);
    return element("li", { class: isAnswer ? "is-answer" : undefined }, button);
  }
}

/** What there is to do before anything can be asked; "" where nothing is. */
function invitation(n_files, n_enrolled) {
  const draw = service.takesDrawings ? ", or draw one" : "";
  if (n_files > 1) return "Several pictures: give them one name to enroll them together.";
  if (n_files === 1) {
    return n_enrolled === 0
      ? "The gallery is empty. Name this one to enroll it first."
      : "";
  }
  return n_enrolled === 0
    ? `The gallery is empty. Put in pictures of one thing${draw}, and name them.`
    : `Put in a picture${draw}. The answer appears by itself.`;
}

function hintOf(hasGallery, writable) {
  if (!hasGallery) {
    return "This service runs without a gallery. Start it with one: onelook serve --gallery gallery.db";
  }
  return writable ? "" : "Read-only: you can ask, but not enroll, rename or forget.";
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
  const by = answeredBy(service.model, answer.cohort);
  if (answer.threshold === null || answer.fpir === null) return by;
  const how = answer.extrapolated
    ? ", by extrapolation: no gallery of this size was measured"
    : "";
  return (
    `${by}A name needs a score of ${figure(answer.threshold)}. With ` +
    `${pictures(answer.gallery_size)} enrolled, an unknown one is ` +
    `falsely accepted ${inCases(answer.fpir)}${how}.`
  );
}
