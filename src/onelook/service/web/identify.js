// Identify: who or what is this, of those in the gallery? And: remember this one.

import { ServiceError, ask, service } from "./api.js";
import { waiting } from "./compare.js";
import { byId, element, say } from "./elements.js";
import { Gallery } from "./gallery.js";
import { Slot, takeDropsAndPastes } from "./slot.js";
import { thumbnail } from "./thumbnails.js";
import {
  capital,
  complaint,
  count,
  fieldOf,
  figure,
  inCases,
  percent,
  shortPercent,
} from "./words.js";

const HAND_PAUSE = 600; // milliseconds after a stroke, since another may follow
const N_MATCHES = 5;

export function startIdentify() {
  const view = byId("view-identify");
  const status = byId("identify-status");
  const slot = new Slot(byId("probe-slot"), { title: "Your picture", many: true });
  const gallery = new Gallery({ onChange: () => changed() });
  let running = new AbortController();
  let timer = 0;
  let isTyped = false; // whether the name to enroll is the user's own

  function empty(...said) {
    delete view.dataset.verdict;
    byId("matches").replaceChildren();
    byId("identify-small").textContent = byId("matches-words").textContent = "";
    say(status, ...said.map((text) => element("p", { class: "hint" }, text)));
  }

  function changed() {
    running.abort();
    clearTimeout(timer);
    view.classList.remove("busy");
    byId("enroll-error").textContent = "";
    byId("enroll-form").hidden = slot.files.length === 0 || !service.settings?.writable;
    if (slot.files.length > 1)
      empty("Several pictures: give them one name to enroll them together.");
    else if (slot.files.length === 0) empty(invitation(gallery.total));
    else if (gallery.total === 0)
      empty("The gallery is empty. Name this one to enroll it first.");
    else {
      view.classList.add("busy");
      timer = setTimeout(identify, slot.isDrawn ? HAND_PAUSE : 0);
    }
  }

  async function identify() {
    running = new AbortController();
    const { signal } = running;
    const body = new FormData();
    body.append("image", slot.files[0]);
    try {
      const onBusy = (seconds) => say(status, waiting(seconds));
      const path = `v1/identify?k=${N_MATCHES}`;
      const answer = await ask(path, { method: "POST", body, signal, onBusy });
      slot.complain("");
      show(answer);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ServiceError)) throw error;
      refuse(error);
    } finally {
      if (!signal.aborted) view.classList.remove("busy");
    }
  }

  function refuse(error) {
    empty();
    if (fieldOf(error)) slot.complain(complaint(error));
    else say(status, element("p", { class: "error" }, complaint(error)));
    if (error.kind === "busy") {
      status.append(element("button", { type: "button", onclick: changed }, "Try again"));
    }
  }

  function show(answer) {
    view.dataset.verdict = answer.verdict || "none";
    const [headline, sentence] = wordsOf(answer);
    say(
      status,
      element("p", { class: "verdict" }, headline),
      element("p", { class: "sentence" }, sentence),
    );
    const rows = answer.matches.map((match, i) =>
      matchRow(match, i === 0 && answer.verdict === "known", () =>
        gallery.open(match.identity),
      ),
    );
    byId("matches").replaceChildren(...rows);
    byId("matches-words").textContent =
      answer.verdict === "nobody" && rows.length
        ? "The nearest, all below the threshold:"
        : "";
    byId("identify-small").textContent = smallPrint(answer);
    if (!isTyped) byId("identity").value = answer.identity ?? "";
  }

  async function enroll(event) {
    event.preventDefault();
    const identity = byId("identity").value.trim();
    const body = new FormData();
    body.append("identity", identity);
    for (const file of slot.files) body.append("images", file, file.name);
    const button = byId("enroll-form").querySelector("button");
    button.disabled = true;
    try {
      const kept = await ask("v1/enroll", { method: "POST", body });
      slot.clear();
      byId("identity").value = "";
      isTyped = false;
      say(status, element("p", { class: "sentence" }, enrolled(kept)));
      await gallery.reload();
      slot.focus();
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      byId("enroll-error").textContent = whichOf(error, slot.files) + complaint(error);
    } finally {
      button.disabled = false;
    }
  }

  function known() {
    const { gallery: hasGallery, writable } = service.settings;
    byId("identify-body").hidden = !hasGallery;
    byId("gallery-hint").textContent = hintOf(hasGallery, writable);
    if (hasGallery && service.model) gallery.reload().then(changed);
  }

  slot.addEventListener("change", changed);
  byId("enroll-form").addEventListener("submit", enroll);
  byId("identity").addEventListener(
    "input",
    () => (isTyped = byId("identity").value !== ""),
  );
  service.addEventListener("known", known);
  takeDropsAndPastes(view, [slot]);
  changed();
}

/** Which of several pictures an error means, before the error itself. */
function whichOf(error, files) {
  const place = Number(fieldOf(error).split(" ")[1]);
  return files.length > 1 && files[place - 1] ? `${files[place - 1].name}: ` : "";
}

function invitation(n_enrolled) {
  return n_enrolled === 0
    ? "The gallery is empty. Put in a picture or draw one, and name it."
    : "Put in a picture, or draw one. The answer comes by itself.";
}

function hintOf(hasGallery, writable) {
  if (!hasGallery) {
    return "This service runs without a gallery. Start it with one: onelook serve MODEL --gallery gallery.db";
  }
  return writable ? "" : "Read-only: you can ask, but not enroll, rename or forget.";
}

function enrolled({ identity, new: n_new, known }) {
  if (n_new === 0)
    return `${identity} has ${known === 1 ? "this picture" : "these pictures"} already.`;
  const also = known ? `; ${count(known, "was", "were")} there already` : "";
  return `Enrolled: ${count(n_new, "picture", "pictures")} of ${identity}${also}.`;
}

/** Headline and sentence of an answer. */
function wordsOf(answer) {
  const [best] = answer.matches;
  if (answer.verdict === "nobody") {
    return ["Nobody", "This is nobody in the gallery."];
  }
  if (answer.verdict === "known") {
    return [
      answer.identity,
      `${capital(percent(best.probability))} sure that this is ${answer.identity}.`,
    ];
  }
  return [
    "Not decided",
    "This model carries no threshold, so whether any of these is right is not said. Calibrate it first: onelook calibrate.",
  ];
}

function smallPrint(answer) {
  if (answer.threshold === null || answer.fpir === null) return "";
  const by = answer.extrapolated
    ? ", by extrapolation: no gallery so large was measured"
    : "";
  return (
    `A name needs a score of ${figure(answer.threshold)}. With ` +
    `${count(answer.gallery_size, "picture", "pictures")} enrolled, that takes strangers for ` +
    `someone ${inCases(answer.fpir)}${by}.`
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
