// Model: what is known of it, and what its threshold stands for.

import { service } from "./api.js";
import { byId, element } from "./elements.js";
import { HISTOGRAM_EDGE, drawHistogram, drawRoc, interpolate } from "./plots.js";
import { capital, figure, inCases, rate } from "./words.js";

const THUMB = 28; // pixels of the slider's thumb, as in style.css
const STEPS = 400;
const NO_CURVES =
  "This model has a threshold but no calibration curves; onelook calibrate adds them.";
const NO_THRESHOLD =
  "This model has no threshold, so it gives scores but no verdicts; onelook calibrate adds one.";

export function startModel() {
  const view = byId("view-model");
  const threshold = new Threshold();
  service.addEventListener("known", () => {
    const { model } = service;
    if (!model) return;
    const { calibration, card_html: card, decision } = model;
    byId("model-body").hidden = false;
    byId("model-name").textContent = model.name;
    byId("model-purpose").textContent = model.purpose ? `For ${model.purpose}.` : "";
    const hasCurves = Boolean(calibration && decision);
    byId("curves").hidden = !hasCurves;
    byId("uncalibrated").hidden = hasCurves;
    byId("uncalibrated").textContent = decision ? NO_CURVES : NO_THRESHOLD;
    if (hasCurves) threshold.set(model);
    const sizes = decision?.identify ?? [];
    byId("search-panel").hidden = sizes.length === 0;
    byId("search-rows").replaceChildren(...sizes.map(rowOfSize));
    byId("facts").replaceChildren(...factsOf(model));
    byId("card").hidden = !card;
    // The service renders it without any HTML of its author's.
    const { body } = new DOMParser().parseFromString(card, "text/html");
    byId("card-body").replaceChildren(...body.childNodes);
  });
  // Both when it becomes visible and when a phone is turned.
  view.addEventListener("shown", () => threshold.draw());
  new ResizeObserver(() => threshold.draw()).observe(view);
}

/** The slider of the threshold with its rates and plots. */
class Threshold {
  #slider = byId("threshold");
  #back = byId("threshold-back");
  #calibration = null;

  constructor() {
    this.#slider.style.setProperty("--inset", `${HISTOGRAM_EDGE - THUMB / 2}px`);
    this.#slider.addEventListener("input", () => this.draw());
    this.#back.addEventListener("click", () => {
      this.#slider.value = this.own;
      this.draw();
      this.#slider.focus();
    });
  }

  set({ calibration, decision }) {
    const { edges } = calibration.histogram;
    const [low, high] = [edges[0], edges.at(-1)];
    this.#calibration = calibration;
    const range = { min: low, max: high, step: (high - low) / STEPS, value: decision.threshold };
    Object.assign(this.#slider, range);
    this.own = this.#slider.valueAsNumber; // the step that is nearest to the threshold
    this.threshold = decision.threshold;
    this.#back.textContent = `Back to ${figure(decision.threshold)}`;
    byId("threshold-words").textContent = standsFor(decision);
    this.draw();
  }

  /** Draw all for the width at hand. */
  draw() {
    const [histogram, roc] = [byId("histogram"), byId("roc")];
    const width = histogram.clientWidth;
    if (width === 0 || !this.#calibration) return; // hidden: drawn when it is shown
    const calibration = this.#calibration;
    const isOwn = this.#slider.valueAsNumber === this.own;
    const threshold = isOwn ? this.threshold : this.#slider.valueAsNumber;
    const far = interpolate(calibration.thresholds, calibration.far, threshold);
    const frr = interpolate(calibration.thresholds, calibration.frr, threshold);
    histogram.replaceChildren(drawHistogram(calibration.histogram, threshold, width));
    roc.replaceChildren(drawRoc(calibration, [far, frr], roc.clientWidth));
    showRate("far", far, `different things falsely accepted ${inCases(far)}`);
    showRate("frr", frr, `the same thing falsely rejected ${inCases(frr)}`);
    byId("threshold-value").textContent = figure(threshold);
    const said = `false accepts ${rate(far)}, false rejects ${rate(frr)}`;
    this.#slider.setAttribute("aria-valuetext", `${figure(threshold)}: ${said}`);
    this.#back.hidden = isOwn;
  }
}

function standsFor({ far, reject_below: rejectBelow, threshold }) {
  const unsure = ` Between ${figure(rejectBelow)} and the threshold, the answer is unsure.`;
  return (
    `From a score of ${figure(threshold)}, two pictures are the same. At this threshold, ` +
    `different things are falsely accepted ${inCases(far)}: a false-accept rate (FAR) of ` +
    `${rate(far)}.${rejectBelow < threshold ? unsure : ""}`
  );
}

function showRate(id, share, said) {
  byId(id).querySelector("strong").textContent = rate(share);
  byId(id).querySelector(".small").textContent = capital(said);
}

/** What the threshold of a search is, and what it stands for, at one size of a gallery. */
function rowOfSize({ gallery_size, threshold, fpir, known }) {
  const found = known === null || known === undefined ? "" : rate(known);
  const cells = [gallery_size.toLocaleString("en"), figure(threshold), rate(fpir), found];
  return element("tr", {}, ...cells.map((cell) => element("td", {}, cell)));
}

function factsOf(model) {
  const { decision } = model;
  const { n_classes, n_different, n_same, pairs, prior } = decision ?? {};
  const number = (n) => n.toLocaleString("en");
  const facts = {
    Takes: model.takes,
    Scores: model.cohort,
    Similarity: model.similarity,
    "Calibrated on":
      n_classes && `${number(n_classes)} classes that it was not trained on`,
    Pairs: n_same && `${number(n_same)} same, ${number(n_different)} different`,
    "A different pair": pairs,
    "FAR, 95% interval": intervalOf(decision?.intervals?.far),
    "FRR, 95% interval": intervalOf(decision?.intervals?.frr),
    "Probability assumes": decision && `${rate(prior)} of all pairs are the same`,
    Fingerprint: model.fingerprint,
  };
  const given = Object.entries(facts).filter(([, value]) => value);
  return given.flatMap(([name, value]) => [
    element("dt", {}, name),
    element("dd", {}, String(value)),
  ]);
}

function intervalOf(interval) {
  return interval && `${rate(interval[0])} to ${rate(interval[1])}`;
}
