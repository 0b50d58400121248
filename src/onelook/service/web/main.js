// The page: its three views, the banner of a service that is gone, the field for a token.

import { ServiceError, service } from "./api.js";
import { Compare } from "./compare.js";
import { byId, element } from "./elements.js";
import { Identify } from "./identify.js";
import { startModel } from "./model.js";

const VIEWS = ["compare", "identify", "model"];
const TITLES = { compare: "Compare", identify: "Identify", model: "Model" };

function startTabs() {
  const tabs = VIEWS.map((name) => byId(`tab-${name}`));
  const show = () => {
    const asked = location.hash.slice(1);
    const shown = VIEWS.includes(asked) ? asked : VIEWS[0];
    for (const name of VIEWS) {
      const isShown = name === shown;
      byId(`view-${name}`).hidden = !isShown;
      byId(`tab-${name}`).setAttribute("aria-selected", String(isShown));
      byId(`tab-${name}`).tabIndex = isShown ? 0 : -1;
    }
    document.title = `${TITLES[shown]} · onelook`;
    byId(`view-${shown}`).dispatchEvent(new Event("shown"));
  };
  tabs.forEach((tab, i) => {
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const next = { Home: 0, End: tabs.length - 1 }[event.key] ?? (step && i + step);
      if (event.key === " ") tab.click();
      if (event.key !== " " && next === undefined) return;
      event.preventDefault();
      if (next === undefined) return;
      const other = tabs[(next + tabs.length) % tabs.length];
      other.focus();
      other.click();
    });
  });
  window.addEventListener("hashchange", show);
  show();
}

function startBanner() {
  const banner = byId("unreachable");
  service.addEventListener("unreachable", () => (banner.hidden = false));
  service.addEventListener("again", () => (banner.hidden = !service.isUnreachable));
}

function startToken() {
  const form = byId("token-form");
  service.addEventListener("token", () => {
    if (service.token)
      byId("token-help").textContent = "This token is not valid here.";
    form.hidden = false;
  });
  service.addEventListener("known", () => (form.hidden = service.model !== null));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    service.token = byId("token").value.trim();
    byId("token").value = "";
  });
}

/** Name the model and its cohort in the head; offer to draw where it takes drawings. */
function startHead() {
  service.addEventListener("known", () => {
    const { model } = service;
    byId("on-device").hidden = !service.settings.on_device;
    document.body.classList.toggle("draws", service.takesDrawings);
    const facts = model ? [model.purpose && `for ${model.purpose}`, model.cohort] : [];
    const words = facts.filter(Boolean).map((fact) => ` · ${fact}`);
    const name = element("strong", {}, model?.name ?? "");
    byId("serving").replaceChildren(...(model ? [name, ...words] : []));
  });
}

async function learn() {
  try {
    await service.learn();
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    // The banner or the field for a token is shown; "again" comes back here.
  }
}

startBanner();
startToken();
startHead();
new Compare();
new Identify();
startModel();
startTabs();
service.addEventListener("again", learn);
learn();
