// Identify: who or what is this, of those in the gallery? And: remember this one.

import { ServiceError, ask, service } from "./api.js";
import { waiting } from "./compare.js";
import { byId, element, say } from "./elements.js";
import { Gallery } from "./gallery.js";
import { Slot, takeDropsAndPastes } from "./slot.js";
import { thumbnail } from "./thumbnails.js";
import { capital, complaint, count, figure, oneIn, percent } from "./words.js";

const HAND_PAUSE = 600; // milliseconds after a stroke, since another may follow
const N_MATCHES = 5;
const PROBE = "this picture";

export function startIdentify() {
  const view = byId("view-identify");
  const status = byId("identify-status");
  const slot = new Slot(byId("probe-slot"), { title: "Your picture", many: true });
  const gallery = new Gallery({ onChange: () => changed() });
  let running = new AbortController();
  let timer = 0;

  function empty(...said) {
    delete view.dataset.verdict;
    byId("matches").replaceChildren();
    byId("identify-small").textContent = "";
    say(status, ...said.map((text) => element("p", { class: "hint" }, text)));
  }

  function changed() {
    running.abort();
    clearTimeout(timer);
    view.classList.remove("busy");
    byId("enroll-error").textContent = "";
    byId("enroll-form").hidden = slot.files.length === 0 || !service.settings?.writable;
    if (slot.files.length > 1) empty("Several pictures: give them one name to enroll them together.");
    else if (slot.files.length === 0) empty("Put in a picture, or draw one. The answer comes by itself.");
    else if (gallery.total === 0) empty("The gallery is empty. Name this one to enroll it first.");
    else {
      view.classList.add("busy");
      timer = setTimeout(identify, slot.isDrawn ? HAND_PAUSE : 0);
    }
  }

  async function identify() {
    running = new AbortController();
    const { signal } = running;
    const body = new FormData();
    body.append("image", slot.files[0], PROBE);
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
    if (error.message.startsWith(PROBE)) slot.complain(complaint(error.message, PROBE));
    else say(status, element("p", { class: "error" }, capital(error.message)));
    if (error.kind === "busy") {
      status.append(element("button", { type: "button", onclick: changed }, "Try again"));
    }
  }

  function show(answer) {
    view.dataset.verdict = answer.verdict || "none";
    const [headline, sentence] = wordsOf(answer);
    say(status, element("p", { class: "verdict" }, headline), element("p", { class: "sentence" }, sentence));
    const rows = answer.matches.map((match, i) =>
      matchRow(match, i === 0 && answer.verdict === "known", () => gallery.open(match.identity)),
    );
    byId("matches").replaceChildren(...rows);
    byId("identify-small").textContent = smallPrint(answer);
    if (answer.identity !== null) byId("identity").value = answer.identity;
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
      say(status, element("p", { class: "sentence" }, enrolled(kept)));
      await gallery.reload();
      slot.focus();
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      byId("enroll-error").textContent = capital(error.message);
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
  service.addEventListener("known", known);
  takeDropsAndPastes(view, [slot]);
  changed();
}

function hintOf(hasGallery, writable) {
  if (!hasGallery) {
    return "This service runs without a gallery. Start it with one: onelook serve MODEL --gallery gallery.db";
  }
  return writable ? "" : "Read-only: you can ask, but not enroll, rename or forget.";
}

function enrolled({ identity, new: n_new, known }) {
  if (n_new === 0) return `${identity} has ${known === 1 ? "this picture" : "these pictures"} already.`;
  const also = known ? `; ${count(known, "was", "were")} there already` : "";
  return `Enrolled: ${count(n_new, "picture", "pictures")} of ${identity}${also}.`;
}

/** Headline and sentence of an answer. */
function wordsOf(answer) {
  const [best] = answer.matches;
  if (answer.verdict === "nobody") {
    const nearest = best ? `, not even ${best.identity}, the nearest` : "";
    return ["Nobody", `This is nobody in the gallery${nearest}.`];
  }
  if (answer.verdict === "known") {
    const sure = best.probability === null ? "Above the threshold" : `${capital(percent(best.probability))} sure`;
    return [answer.identity, `${sure} that this and the picture of ${answer.identity} show the same thing.`];
  }
  return [
    "Not decided",
    "This model was not calibrated for searching in a gallery. These are the nearest; whether any is right is not said.",
  ];
}

function smallPrint(answer) {
  if (answer.threshold === null || answer.fpir === null) return "";
  const far = answer.extrapolated ? " This gallery is larger than any that was measured, so that is extrapolated." : "";
  return (
    `Someone from ${figure(answer.threshold)}. In a gallery of this size ${oneIn(answer.fpir)} ` +
    `strangers is taken for someone.${far}`
  );
}

function matchRow(match, isAnswer, onOpen) {
  const meter = element("span", { class: "meter", "aria-hidden": true }, element("span"));
  meter.style.setProperty("--share", `${100 * (match.probability ?? 0)}%`);
  const figureText = match.probability === null ? figure(match.score) : percent(match.probability);
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
        element("span", { class: "small" }, count(match.n_images, "picture", "pictures")),
      ),
      meter,
      element("span", { class: "match-figure" }, figureText),
    ),
  );
}
