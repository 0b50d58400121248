// Compare: two pictures, one answer.

import { ServiceError, ask, service } from "./api.js";
import { Asker } from "./asker.js";
import { byId, element, say } from "./elements.js";
import { Slot, takeDropsAndPastes, tooMuch } from "./slot.js";
import { answeredBy, complaint, fieldOf, figure, inCases, sureness } from "./words.js";

const HEADLINES = { same: "Same", different: "Different", unsure: "Unsure" };
const SIDES = ["left", "right"];

export class Compare {
  view = byId("view-compare");
  status = byId("compare-status");
  slots = {
    left: new Slot(byId("left-slot"), { title: "Left picture" }),
    right: new Slot(byId("right-slot"), { title: "Right picture" }),
  };
  both = [this.slots.left, this.slots.right];
  heat = new HeatMaps(() => this.#form());

  constructor() {
    this.asker = new Asker({
      view: this.view,
      status: this.status,
      onAnswer: (answer) => this.#show(answer),
      onRefusal: (error) => this.#refuse(error),
      pending: "Comparing…",
    });
    for (const slot of this.both) {
      slot.addEventListener("change", () => this.#changed(slot.isDrawn));
    }
    byId("start-over").addEventListener("click", () => {
      this.both.forEach((slot) => slot.clear());
      this.slots.left.focus();
    });
    service.addEventListener("again", () => this.#changed(false));
    service.addEventListener("known", () => this.#invite());
    takeDropsAndPastes(this.view, this.both);
    this.#changed(false);
  }

  #changed(isDrawn) {
    this.heat.reset();
    byId("start-over").hidden = this.both.every((slot) => slot.isEmpty);
    const isDrawing = this.both.some((slot) => slot.isDrawn);
    this.view.querySelector(".pair").classList.toggle("drawing", isDrawing);
    const missing = this.both.filter((slot) => slot.files.length === 0).length;
    if (missing === 0) this.asker.soon("v1/compare", () => this.#form(), isDrawn);
    else {
      this.asker.cancel();
      this.#withdraw();
      this.#invite();
    }
  }

  #invite() {
    const missing = this.both.filter((slot) => slot.files.length === 0).length;
    if (missing) say(this.status, element("p", { class: "hint" }, invitation(missing)));
  }

  #form() {
    const refused = tooMuch(this.both.map((slot) => slot.files[0]));
    if (refused) throw new ServiceError("refused", refused);
    const body = new FormData();
    for (const side of SIDES) body.append(side, this.slots[side].files[0]);
    return body;
  }

  #show(answer) {
    this.both.forEach((slot) => slot.complain(""));
    const nothing = `Dissimilarity ${figure(answer.dissimilarity)}`;
    const headline = HEADLINES[answer.verdict] ?? nothing;
    this.view.dataset.verdict = answer.verdict || "none";
    say(
      this.status,
      element("p", { class: "verdict" }, headline),
      element("p", { class: "sentence" }, sentenceOf(answer)),
    );
    drawBar(byId("score-bar"), answer);
    byId("compare-small").textContent = smallPrint(answer);
    byId("compare-details").hidden = false;
  }

  #withdraw() {
    delete this.view.dataset.verdict;
    byId("compare-details").hidden = true;
  }

  #refuse(error) {
    this.#withdraw();
    const side = fieldOf(error);
    if (!SIDES.includes(side)) return false;
    this.slots[side].complain(complaint(error));
    const words = `Replace the ${side} picture to get an answer.`;
    say(this.status, element("p", { class: "hint" }, words));
    return true;
  }
}

function invitation(n_missing) {
  if (n_missing === 1) return "One more picture, and the answer appears by itself.";
  const draw = service.takesDrawings ? ", or draw two characters" : "";
  return `Put in two pictures${draw}. The answer appears by itself.`;
}

function sentenceOf(answer) {
  if (answer.verdict === "") {
    return "This model has no threshold, so there is no verdict. Calibrate it first: onelook calibrate.";
  }
  if (answer.reason) return `${answer.reason}.`;
  return `${sureness(answer)}.`;
}

function smallPrint(answer) {
  const score = `${answeredBy(service.model, answer.cohort)}Score ${figure(answer.score)}`;
  if (answer.threshold === null) return `${score}.`;
  return (
    `${score}; same from ${figure(answer.threshold)}. At this threshold, ` +
    `different things are falsely accepted ${inCases(answer.far)}.`
  );
}

/** The scores that a bar shows: all that calibration saw, and the answer's own. */
function scoreRange(answer) {
  const edges = service.model?.calibration?.histogram?.edges;
  const decision = service.model?.decision;
  const marks = [answer.score, answer.threshold];
  if (edges?.length) marks.push(edges[0], edges.at(-1));
  else if (decision?.slope > 0) {
    // Where the probability is one in a thousand, and all but that.
    for (const logit of [-7, 7]) marks.push((logit - decision.intercept) / decision.slope);
  } else {
    const reach = Math.max(1.5 * Math.abs(answer.score - answer.threshold), 1e-6);
    marks.push(answer.threshold - reach, answer.threshold + reach);
  }
  const low = Math.min(...marks);
  const high = Math.max(...marks);
  const margin = 0.03 * (high - low); // so that the mark of the score stays on the bar
  return [low - margin, high + margin];
}

/** A bar of all scores: different, unsure, same; the threshold and this score marked. */
function drawBar(bar, answer) {
  bar.hidden = answer.threshold === null;
  if (bar.hidden) return;
  const [low, high] = scoreRange(answer);
  const place = (score) => `${(100 * (score - low)) / (high - low || 1)}%`;
  const unsureFrom = service.model?.decision?.reject_below ?? answer.threshold;
  bar.replaceChildren(
    element("div", { class: "track" }),
    element("div", { class: "tick" }),
    element("span", { class: "bar-label" }, "threshold"),
    element("div", { class: "pin" }),
    element("span", { class: "end low" }, "different"),
    element("span", { class: "end high" }, "same"),
  );
  bar.style.setProperty("--unsure", place(unsureFrom));
  bar.style.setProperty("--threshold", place(answer.threshold));
  bar.style.setProperty("--score", place(answer.score));
  bar.setAttribute(
    "aria-label",
    `Score ${figure(answer.score)} on a scale from ${figure(low)}, different, to ` +
      `${figure(high)}, same; the threshold is ${figure(answer.threshold)}`,
  );
}

/** The heat-map toggle; explanations are asked for only when someone wants to see one. */
class HeatMaps {
  place = byId("heat");
  choice = byId("heat-choice");
  #running = new AbortController();
  #explanation = null; // a promise, once asked for
  #turn = 0; // counts what was chosen: only the last choice is shown

  /** @param {() => FormData} form The pair at hand. */
  constructor(form) {
    this.form = form;
    this.choice.addEventListener("change", (event) => this.#show(event.target.value));
  }

  /** Off, for another pair. */
  reset() {
    this.#running.abort();
    this.#explanation = null;
    this.choice.querySelector("[value=off]").checked = true;
    this.#show("off");
  }

  async #show(kind) {
    const turn = ++this.#turn;
    if (kind === "off") return this.place.replaceChildren();
    try {
      if (!this.#explanation) {
        say(this.place, element("p", { class: "hint" }, "Looking for what matters…"));
        this.#explanation = this.#explain();
      }
      const { pictures } = await this.#explanation;
      if (turn === this.#turn) this.place.replaceChildren(...heatPair(pictures, kind));
    } catch (error) {
      if (turn !== this.#turn) return;
      if (!(error instanceof ServiceError)) throw error;
      this.#explanation = null;
      say(this.place, element("p", { class: "error" }, complaint(error)));
    }
  }

  #explain() {
    this.#running = new AbortController();
    const { signal } = this.#running;
    return ask("v1/explain", { method: "POST", body: this.form(), signal });
  }
}

const HEAT_WORDS = {
  alike: "The stronger the colour, the more this part speaks for the same thing.",
  apart: "The stronger the colour, the more this part speaks for different things.",
};

function heatPair(pictures, kind) {
  const sides = SIDES.map((side) =>
    element(
      "div",
      { class: "layers" },
      element("img", {
        src: pictures[side],
        alt: `The ${side} picture as the network sees it`,
      }),
      element("img", {
        src: pictures[`${side}_${kind}`],
        class: "overlay",
        alt: `Heat map of the ${side} picture: what ${kind === "alike" ? "makes them alike" : "sets them apart"}`,
      }),
    ),
  );
  return [
    element("div", { class: "heat-pair" }, ...sides),
    element("p", { class: "small" }, HEAT_WORDS[kind]),
  ];
}
