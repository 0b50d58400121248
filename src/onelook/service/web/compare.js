// Compare: two pictures, one answer.

import { ServiceError, ask, service } from "./api.js";
import { byId, element, say } from "./elements.js";
import { Slot, takeDropsAndPastes, tooMuch } from "./slot.js";
import { complaint, fieldOf, figure, inCases, sureness, verdictOf } from "./words.js";

const HEADLINES = { same: "Same", different: "Different", unsure: "Unsure" };
const HAND_PAUSE = 450; // milliseconds after a stroke, since another may follow
const SIDES = ["left", "right"];

export function startCompare() {
  const view = byId("view-compare");
  const status = byId("compare-status");
  const slots = {
    left: new Slot(byId("left-slot"), { title: "Left picture" }),
    right: new Slot(byId("right-slot"), { title: "Right picture" }),
  };
  const both = [slots.left, slots.right];
  let running = new AbortController();
  let timer = 0;

  function form() {
    const body = new FormData();
    for (const side of SIDES) body.append(side, slots[side].files[0]);
    return body;
  }

  const heat = startHeat(form);

  function changed(slot) {
    running.abort();
    clearTimeout(timer);
    heat.reset();
    byId("start-over").hidden = both.every((each) => each.isEmpty);
    view.querySelector(".pair").classList.toggle(
      "drawing",
      both.some((each) => each.isDrawn),
    );
    if (both.every((each) => each.files.length > 0)) {
      view.classList.add("busy");
      timer = setTimeout(compare, slot?.isDrawn ? HAND_PAUSE : 0);
    } else {
      view.classList.remove("busy");
      delete view.dataset.verdict;
      byId("compare-details").hidden = true;
      say(status, element("p", { class: "hint" }, invitation(both)));
    }
  }

  async function compare() {
    running = new AbortController();
    const { signal } = running;
    try {
      const refused = tooMuch(both.map((slot) => slot.files[0]));
      if (refused) throw new ServiceError("refused", refused);
      const onBusy = (seconds) => say(status, waiting(seconds));
      const answer = await ask("v1/compare", {
        method: "POST",
        body: form(),
        signal,
        onBusy,
      });
      show(answer);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ServiceError)) throw error;
      refuse(error);
    } finally {
      if (!signal.aborted) view.classList.remove("busy");
    }
  }

  function show(answer) {
    both.forEach((slot) => slot.complain(""));
    const verdict = verdictOf(answer);
    view.dataset.verdict = verdict || "none";
    say(
      status,
      element(
        "p",
        { class: "verdict" },
        HEADLINES[verdict] ?? `Dissimilarity ${figure(answer.dissimilarity)}`,
      ),
      element("p", { class: "sentence" }, sentenceOf(answer)),
    );
    drawBar(byId("score-bar"), answer);
    byId("compare-small").textContent = smallPrint(answer);
    byId("compare-details").hidden = false;
  }

  function refuse(error) {
    delete view.dataset.verdict;
    byId("compare-details").hidden = true;
    const side = fieldOf(error);
    if (SIDES.includes(side)) {
      slots[side].complain(complaint(error));
      say(
        status,
        element("p", { class: "hint" }, `Replace the ${side} picture to get an answer.`),
      );
      return;
    }
    say(status, element("p", { class: "error" }, complaint(error)));
    if (error.kind === "busy") {
      status.append(
        element("button", { type: "button", onclick: () => changed() }, "Try again"),
      );
    }
  }

  for (const slot of both) slot.addEventListener("change", () => changed(slot));
  byId("start-over").addEventListener("click", () => {
    both.forEach((slot) => slot.clear());
    slots.left.focus();
  });
  service.addEventListener("again", () => changed());
  service.addEventListener("known", () => {
    const purpose = service.model?.purpose;
    view.querySelector(".model-hint").textContent = purpose ? `For ${purpose}.` : "";
  });
  takeDropsAndPastes(view, both);
  changed();
}

function invitation(slots) {
  const n = slots.filter((slot) => slot.files.length === 0).length;
  return n === 2
    ? "Put in two pictures, or draw two characters. The answer comes by itself."
    : "One more picture, and the answer comes by itself.";
}

export function waiting(seconds) {
  const text = `The service is busy. Trying again in ${Math.ceil(seconds)} s…`;
  return element("p", { class: "hint" }, text);
}

function sentenceOf(answer) {
  if (verdictOf(answer) === "") {
    return "This model carries no threshold, so same or different is not said. Calibrate it first: onelook calibrate.";
  }
  return `${sureness(answer)}.`;
}

function smallPrint(answer) {
  if (answer.threshold === null) return `Score ${figure(answer.score)}.`;
  return (
    `Score ${figure(answer.score)}; same from ${figure(answer.threshold)} on. That threshold ` +
    `takes different things for the same ${inCases(answer.far)}.`
  );
}

/** The scores that a bar shows: all that calibration saw, and the answer's own. */
export function scoreRange(answer) {
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
function startHeat(form) {
  const place = byId("heat");
  const choice = byId("heat-choice");
  let running = new AbortController();
  let explanation = null; // a promise, once asked for
  let shown = 0;

  function explain() {
    running = new AbortController();
    const { signal } = running;
    return ask("v1/explain", { method: "POST", body: form(), signal });
  }

  async function show(kind) {
    const turn = ++shown;
    if (kind === "off") return place.replaceChildren();
    try {
      if (!explanation) {
        say(place, element("p", { class: "hint" }, "Looking at what mattered…"));
        explanation = explain();
      }
      const { pictures } = await explanation;
      if (turn === shown) place.replaceChildren(...heatPair(pictures, kind));
    } catch (error) {
      if (turn !== shown) return;
      if (!(error instanceof ServiceError)) throw error;
      explanation = null;
      say(place, element("p", { class: "error" }, complaint(error)));
    }
  }

  choice.addEventListener("change", (event) => show(event.target.value));
  return {
    reset() {
      running.abort();
      explanation = null;
      choice.querySelector("[value=off]").checked = true;
      show("off");
    },
  };
}

const HEAT_WORDS = {
  alike: "The stronger the colour, the more that part spoke for the same thing.",
  apart: "The stronger the colour, the more that part spoke for different things.",
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
        alt: `Heat map of the ${side} picture: what ${kind === "alike" ? "made them alike" : "told them apart"}`,
      }),
    ),
  );
  return [
    element("div", { class: "heat-pair" }, ...sides),
    element("p", { class: "small" }, HEAT_WORDS[kind]),
  ];
}
