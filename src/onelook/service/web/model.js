// Model: what is known of it, and what its threshold stands for.

import { service } from "./api.js";
import { byId, element } from "./elements.js";
import { HISTOGRAM_EDGE, drawHistogram, drawRoc, interpolate } from "./plots.js";
import { capital, figure, inCases, rate } from "./words.js";

const THUMB = 28; // pixels of the slider's thumb, as in style.css
const STEPS = 400;
const ROC_WORDS = "ROC: same pairs accepted";
const SLIDER_WORDS =
  "Move the slider to see the errors of another threshold. Answers keep the model's own.";

export function startModel() {
  const view = byId("view-model");
  let redraw = () => {};
  service.addEventListener("known", () => {
    const { model } = service;
    if (!model) return;
    byId("model-name").textContent = model.name;
    byId("model-purpose").textContent = model.purpose ? `For ${model.purpose}.` : "";
    const body = byId("model-body");
    body.replaceChildren();
    if (model.calibration && model.decision) {
      const threshold = new Threshold(model);
      body.append(...threshold.elements);
      redraw = () => threshold.draw();
    } else {
      body.append(element("p", { class: "panel hint" }, uncalibrated(model)));
    }
    if (model.decision?.identify?.length) body.append(searchTable(model.decision.identify));
    body.append(factsOf(model));
    if (model.card_html) body.append(cardOf(model));
    redraw();
  });
  // Both when it becomes visible and when a phone is turned.
  view.addEventListener("shown", () => redraw());
  new ResizeObserver(() => redraw()).observe(view);
}

function uncalibrated(model) {
  return model.decision
    ? "This model has a threshold but no calibration curves; onelook calibrate adds them."
    : "This model has no threshold, so it gives scores but no verdicts; onelook calibrate adds one.";
}

/** The slider of the threshold with its rates and plots. */
class Threshold {
  output = element("output", { for: "threshold", class: "threshold-value" });
  histogram = element("div", { class: "plot" });
  roc = element("div", { class: "plot" });
  far = rateCard("False accepts", "FAR");
  frr = rateCard("False rejects", "FRR");

  constructor({ calibration, decision }) {
    this.calibration = calibration;
    this.own = this.threshold = decision.threshold;
    this.slider = sliderOf(calibration.histogram.edges, this.own);
    const words = `Back to ${figure(this.own)}`;
    this.back = element("button", { type: "button", class: "quiet" }, words);
    this.slider.addEventListener("input", () => this.#move(this.slider.valueAsNumber));
    this.back.addEventListener("click", () => {
      this.slider.value = this.own;
      this.#move(this.own);
      this.slider.focus();
    });
    const label = element("label", { for: "threshold" }, "Threshold");
    this.elements = [
      element("p", { class: "lead", id: "threshold-words" }, standsFor(decision)),
      element(
        "section",
        { class: "panel", "aria-label": "Threshold" },
        element("div", { class: "threshold-head" }, label, this.output, this.back),
        element("div", { class: "rates" }, this.far.element, this.frr.element),
        legend(),
        this.histogram,
        this.slider,
        element("p", { class: "small" }, SLIDER_WORDS),
      ),
      element("section", { class: "panel" }, element("h2", {}, ROC_WORDS), this.roc),
    ];
  }

  /** Draw all for the width at hand. */
  draw() {
    const width = this.histogram.clientWidth;
    if (width === 0) return; // hidden: drawn when it is shown
    const { calibration, threshold } = this;
    const far = interpolate(calibration.thresholds, calibration.far, threshold);
    const frr = interpolate(calibration.thresholds, calibration.frr, threshold);
    this.histogram.replaceChildren(drawHistogram(calibration.histogram, threshold, width));
    this.roc.replaceChildren(
      drawRoc(calibration, [far, frr], this.roc.clientWidth),
    );
    this.far.show(far, `different things falsely accepted ${inCases(far)}`);
    this.frr.show(frr, `the same thing falsely rejected ${inCases(frr)}`);
    this.output.textContent = figure(threshold);
    const said = `false accepts ${rate(far)}, false rejects ${rate(frr)}`;
    this.slider.setAttribute("aria-valuetext", `${figure(threshold)}: ${said}`);
    this.back.hidden = threshold === this.own;
  }

  #move(threshold) {
    this.threshold = threshold;
    this.draw();
  }
}

function sliderOf(edges, value) {
  const [low, high] = [edges[0], edges.at(-1)];
  const range = { min: low, max: high, step: (high - low) / STEPS };
  const slider = element("input", {
    type: "range",
    id: "threshold",
    "aria-describedby": "threshold-words",
    ...range,
  });
  slider.value = value;
  slider.style.setProperty("--inset", `${HISTOGRAM_EDGE - THUMB / 2}px`);
  return slider;
}

function standsFor(decision) {
  const sides =
    decision.reject_below < decision.threshold
      ? ` Between ${figure(decision.reject_below)} and the threshold, the answer is unsure.`
      : "";
  return (
    `From a score of ${figure(decision.threshold)}, two pictures are the same. At this threshold, ` +
    `different things are falsely accepted ${inCases(decision.far)}: a false-accept rate (FAR) of ${rate(decision.far)}.${sides}`
  );
}

function rateCard(title, short) {
  const value = element("strong");
  const words = element("span", { class: "small" });
  const card = element(
    "div",
    { class: "rate" },
    element("span", { class: "rate-title" }, `${title} (${short})`),
    value,
    words,
  );
  card.id = short.toLowerCase();
  return {
    element: card,
    show(share, said) {
      value.textContent = rate(share);
      words.textContent = capital(said);
    },
  };
}

function legend() {
  const key = (name, words) => element("span", { class: `key ${name}` }, words);
  return element(
    "p",
    { class: "legend small" },
    key("different", "different pairs"),
    key("same", "same pairs"),
  );
}

/** What the threshold of a search is, and what it stands for, by the gallery's size. */
function searchTable(rows) {
  const cells = ({ gallery_size, threshold, fpir, known }) => [
    gallery_size.toLocaleString("en"),
    figure(threshold),
    rate(fpir),
    known === null || known === undefined ? "" : rate(known),
  ];
  const row = (values, name) =>
    element("tr", {}, ...values.map((value) => element(name, {}, value)));
  const head = ["Pictures enrolled", "Threshold", "Unknown accepted", "Known found"];
  return element(
    "section",
    { class: "panel" },
    element("h2", {}, "Searching in a gallery"),
    element(
      "p",
      { class: "hint" },
      "The larger the gallery, the more alike its nearest picture is by chance, so the threshold grows with it.",
    ),
    element(
      "div",
      {
        class: "scroll",
        tabindex: 0,
        role: "group",
        "aria-label": "Thresholds by the gallery's size",
      },
      element(
        "table",
        {},
        element("thead", {}, row(head, "th")),
        element("tbody", {}, ...rows.map((each) => row(cells(each), "td"))),
      ),
    ),
  );
}

/** The model card, which the service renders without any HTML of its author's. */
function cardOf({ card_html }) {
  const card = new DOMParser().parseFromString(card_html, "text/html");
  return element(
    "section",
    { class: "card", "aria-label": "Model card" },
    element("h2", {}, "Model card"),
    ...card.body.childNodes,
  );
}

function factsOf(model) {
  const { decision } = model;
  const facts = [
    ["Takes", model.takes],
    ["Scores", model.cohort],
    ["Similarity", model.similarity],
    [
      "Calibrated on",
      decision?.n_classes &&
        `${decision.n_classes.toLocaleString("en")} classes that it was not trained on`,
    ],
    [
      "Pairs",
      decision?.n_same &&
        `${decision.n_same.toLocaleString("en")} same, ${decision.n_different.toLocaleString("en")} different`,
    ],
    ["A different pair", decision?.pairs],
    ["FAR, 95% interval", intervalOf(decision?.intervals?.far)],
    ["FRR, 95% interval", intervalOf(decision?.intervals?.frr)],
    [
      "Probability assumes",
      decision && `${rate(decision.prior)} of all pairs are the same`,
    ],
    ["Fingerprint", model.fingerprint],
  ];
  const rows = facts
    .filter(([, value]) => value)
    .flatMap(([name, value]) => [
      element("dt", {}, name),
      element("dd", {}, String(value)),
    ]);
  return element("dl", { class: "facts panel" }, ...rows);
}

function intervalOf(interval) {
  return interval && `${rate(interval[0])} to ${rate(interval[1])}`;
}
