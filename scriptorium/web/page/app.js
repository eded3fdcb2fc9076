// The page of demo.py: tabs, which fill as the models are opened.

import { pause, runs as readRuns, trouble } from "./api.js";
import * as continued from "./continue.js";
import { at, make } from "./dom.js";
import * as interpolate from "./interpolate.js";
import { given, open } from "./link.js";
import * as map from "./map.js";
import * as names from "./names.js";
import * as samples from "./samples.js";
import * as training from "./training.js";

const TABS = {
  names: { title: "Names", of: (run) => run.kind === "names", panel: names },
  texts: { title: "Interpolate", of: (run) => run.kind === "texts", panel: interpolate },
  continue: { title: "Continue", of: (run) => run.kind === "running", panel: continued },
  samples: { title: "Samples", of: (run) => run.kind !== "names", panel: samples },
  map: { title: "Map", of: (run) => ["names", "texts"].includes(run.kind), panel: map },
  training: { title: "Training", of: () => true, panel: training, needsNone: true },
};
const ready = new Set(); // tabs that are set up
let all = [];

function choose(name, focus) {
  for (const tab of at("tabs").children) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    at(tab.getAttribute("aria-controls")).hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
  trouble("");
  if (!ready.has(name) && !TABS[name].needsNone) return;
  open(name);
  if (TABS[name].panel.show) TABS[name].panel.show();
}

function makeTabs() {
  const shown = Object.keys(TABS).filter((name) => all.some(TABS[name].of));
  at("tabs").replaceChildren(...shown.map((name) => {
    const tab = make("button", { type: "button", id: `tab-${name}`, textContent: TABS[name].title, onclick: () => choose(name) });
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", `panel-${name}`);
    return tab;
  }));
  at("tabs").addEventListener("keydown", (event) => {
    const tabs = [...at("tabs").children], now = tabs.findIndex((tab) => tab.tabIndex === 0);
    const to = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(tabs[(to + tabs.length) % tabs.length].id.slice(4), true);
  });
  choose(shown.includes(given.tab) ? given.tab : shown[0]);
}

// Sets up the tabs whose first model is there, adds further models to the others, and says what is still loading.
function update() {
  const current = [...at("tabs").children].find((tab) => tab.tabIndex === 0).id.slice(4);
  for (const [name, { of, panel, needsNone }] of Object.entries(TABS)) {
    if (needsNone) { ready.add(name); continue; }
    const mine = all.filter(of), open = mine.filter((run) => run.state === "ready");
    const loading = mine.filter((run) => run.state === "loading"), failed = mine.filter((run) => run.state === "failed");
    // An address may ask for models that are still loading.
    const wanted = given.tab === name ? [given.run, given.other] : [];
    const early = loading.some((run) => wanted.some((id) => id === run.id || id === run.id + samples.LIKELIHOOD));
    if (open.length && !early && !ready.has(name)) {
      panel.setUp(mine);
      ready.add(name);
      if (name === current) choose(name);
    } else if (ready.has(name)) panel.refresh(mine);
    const panelOf = at(`panel-${name}`);
    panelOf.classList.toggle("loading", !ready.has(name));
    panelOf.querySelector(".loads").textContent = [
      ...(loading.length ? [`Still loading: ${loading.map((run) => run.label).join("; ")} …`] : []),
      ...failed.map((run) => `${run.label} cannot be opened: ${run.trouble}`),
    ].join(" ");
  }
  const open = all.filter((run) => run.state === "ready").length;
  const bundled = all.filter((run) => run.pretrained).length;
  const whose = !bundled ? "" : bundled === all.length ? ", bundled with the project" : `, ${bundled} of them bundled with the project`;
  const how = open < all.length ? `${open} of ${all.length} models are open` : `${all.length} trained ${all.length === 1 ? "model" : "models"}`;
  at("about").textContent = `${how}${open < all.length ? "" : whose}. Everything runs on this machine.`;
}

async function start() {
  let before = "";
  do {
    try {
      all = await readRuns();
      trouble("");
    } catch {
      trouble("The server does not answer. Is demo.py still running?");
    }
    const now = JSON.stringify(all.map((run) => run.state));
    if (all.length && now !== before) {
      if (!before) makeTabs();
      update();
      before = now;
    }
    if (!before || all.some((run) => run.state === "loading")) await pause(1000);
  } while (!before || all.some((run) => run.state === "loading") || JSON.stringify(all.map((run) => run.state)) !== before);
}

at("link").addEventListener("click", async () => {
  await navigator.clipboard.writeText(location.href);
  at("link").textContent = "Link copied";
  setTimeout(() => { at("link").textContent = "Copy link"; }, 1500);
});
start();
