// The tab "Names": new names, and names between two names.

import { ask, latest } from "./api.js";
import { any, at, exportButtons, isolated, list, make, offer, one, unknownOf } from "./dom.js";
import { bind, restore, save } from "./link.js";

let runs = [];
const runOf = (id) => runs.find((run) => run.id === id);

const askNames = latest("names", () => ({
  run: at("names-run").value, language: at("names-language").value, prefix: at("names-prefix").value,
  anchor: at("names-anchor").value, radius: Number(at("names-radius").value),
  count: Number(at("names-count").value) || 1, seed: Number(at("names-seed").value) || 1,
}), (found) => {
  list(at("names-found"), found.names, (item, row) => {
    item.append(isolated(row.name, "strong"));
    if (row.nearest === null) return;
    item.append(make("small", {}, ...(row.distance === 0 ? ["seen in training"] : ["new; most similar: ", isolated(row.nearest)])));
  });
  at("names-unknown").textContent = unknownOf(found);
  exportButtons(at("names-export"), "names", () => found.names);
});

// Labels may be language codes, or anything else.
function languageOf(label) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(label);
  } catch {
    return label;
  }
}

function choose() {
  const run = runOf(at("names-run").value), walk = at("names-walk");
  const options = run.languages.map((label) => new Option(languageOf(label), label));
  at("names-language").replaceChildren(new Option("any", ""), ...options.sort((a, b) => a.text.localeCompare(b.text)));
  at("names-language").closest("label").hidden = !run.languages.length;
  [walk.first.value, walk.second.value] = run.examples;
  at("names-found").replaceChildren();
  at("names-steps").replaceChildren();
}

const hints = () => {
  const parts = [["language", "names-language"], ["beginning", "names-prefix"], ["name to be near", "names-anchor"]];
  const used = parts.filter(([, id]) => at(id).value).map(([name]) => name);
  // What names_vae.py does with several of them.
  at("names-hint").textContent = at("names-anchor").value && at("names-prefix").value
    ? "The name to be near sets the code, and the beginning is kept to the letter."
    : used.length > 1 ? `All of these count: ${used.join(", ")}.` : "";
};

function again(newSeed) {
  if (newSeed) at("names-seed").value = any();
  hints();
  save();
  askNames();
}

export function refresh(all) {
  runs = all.filter((run) => run.state === "ready");
  offer("names-run", runs);
  at("names-run").closest("label").hidden = runs.length < 2;
}

export function setUp(all) {
  refresh(all);
  bind("names", {
    run: "names-run", language: "names-language", prefix: "names-prefix", anchor: "names-anchor", radius: "names-radius",
    count: "names-count", seed: "names-seed",
  });
  const radius = () => { at("names-radius-shown").textContent = Number(at("names-radius").value).toFixed(1); };
  at("names-radius").addEventListener("shown", radius);
  at("names-run").addEventListener("change", () => { choose(); again(false); });
  at("names-form").addEventListener("submit", (event) => { event.preventDefault(); again(true); });
  for (const id of ["names-language", "names-prefix", "names-anchor"]) at(id).addEventListener("change", () => again(false));
  at("names-radius").addEventListener("input", () => { radius(); if (at("names-anchor").value) again(false); });
  at("names-dice").addEventListener("click", () => {
    const { languages, examples } = runOf(at("names-run").value);
    at("names-language").value = languages.length ? one(["", ...languages]) : "";
    at("names-anchor").value = Math.random() < 0.3 ? one(examples) : "";
    at("names-prefix").value = "";
    again(true);
  });
  at("names-walk").addEventListener("submit", async (event) => {
    event.preventDefault();
    const walk = at("names-walk"), run = at("names-run").value;
    const found = await ask("walk", { run, first: walk.first.value, second: walk.second.value, points: 9 });
    if (found && run === at("names-run").value) list(at("names-steps"), found.walk, (item, row) => { item.append(isolated(row.text)); });
  });
  restore("names", ["run"]);
  choose();
  restore("names");
  again(false);
}
