// The tab "Samples": what two models write without a prompt, side by side.

import { latest } from "./api.js";
import { any, at, exportButtons, isolated, list, make, offer } from "./dom.js";
import { bind, restore, save } from "./link.js";

const SIDES = ["samples", "samples-other"]; // what the ids of a side begin with
const NOTHING = "nothing"; // has a value of its own, so that a link keeps it
export const LIKELIHOOD = " after likelihood"; // ends the id of a run whose weights before the critic are meant
let runs = [], found = [], chosen = false;

const select = (side) => at(side === "samples" ? "samples-run" : side);
const valueOf = (side) => (select(side).value === NOTHING ? "" : select(side).value);
const label = (value) => [...at("samples-run").options].find((option) => option.value === value)?.text || "";
const noun = (run) => (run.script === "transformer_vae" ? "parse as Python" : "are grammatical");

// The runs, and of a text GAN that has kept them also its weights before the critic came.
const choices = () => runs.flatMap((run) => [
  run, ...(run.likelihood ? [{ ...run, id: run.id + LIKELIHOOD, label: `${run.label}, after likelihood alone` }] : []),
]);

const asks = Object.fromEntries(SIDES.map((side) => [side, latest("sample", () => {
  const value = valueOf(side), body = {
    run: value.replace(LIKELIHOOD, ""), count: Number(at("samples-count").value) || 1,
    seed: Number(at("samples-seed").value) || 1, temperature: Number(at("samples-temperature").value),
  };
  return value ? { ...body, ...(value.endsWith(LIKELIHOOD) ? { likelihood: true } : {}) } : null;
}, (answer) => display(side, answer))]));

function display(side, answer) {
  const value = valueOf(side), run = runs.find((one) => one.id === value.replace(LIKELIHOOD, ""));
  const rows = answer.texts.map((text, i) => ({ run: value, text, seen: answer.seen[i], valid: answer.valid[i] }));
  found[SIDES.indexOf(side)] = rows;
  at(`${side}-title`).textContent = label(value);
  const counts = [[noun(run), "valid"], ["are in the training text", "seen"]]
    .filter(([, name]) => rows.every((row) => row[name] !== null))
    .map(([what, name]) => `${rows.filter((row) => row[name]).length} of ${rows.length} ${what}`);
  const different = new Set(rows.map((row) => row.text)).size;
  at(`${side}-summary`).textContent = [...counts, `${different} are different`].join("; ") + ".";
  at(`${side}-found`).classList.toggle("code", run.script === "transformer_vae");
  list(at(`${side}-found`), rows, (item, row) => {
    item.append(isolated(row.text));
    if (row.valid === false) item.append(make("small", { className: "invalid", textContent: " ✗" }));
    if (row.seen) item.append(make("small", { textContent: " seen in training" }));
  });
  exportButtons(at("samples-export"), "samples", () => found.flat());
}

function clear(side) {
  found[SIDES.indexOf(side)] = [];
  for (const part of ["title", "summary", "found"]) at(`${side}-${part}`).replaceChildren();
}

function write() {
  chosen = true;
  save();
  for (const side of SIDES) {
    if (!valueOf(side)) clear(side);
    asks[side]();
  }
}

export function refresh(all) {
  runs = all.filter((run) => run.state === "ready");
  offer("samples-run", choices());
  offer("samples-other", choices(), [new Option("nothing", NOTHING)]);
  // As long as nobody has chosen, a model that comes later may suit better.
  if (!chosen) choose();
}

// At first a text GAN, beside its own weights before the critic, or beside a model of the same text.
function choose() {
  const first = runs.find((run) => run.kind === "samples") || runs[0];
  const beside = runs.find((run) => run.id !== first.id && run.corpus === first.corpus && run.kind === "running");
  at("samples-run").value = first.id;
  at("samples-other").value = first.likelihood ? first.id + LIKELIHOOD : beside ? beside.id : NOTHING;
}

export function setUp(all) {
  refresh(all);
  bind("samples", {
    run: "samples-run", other: "samples-other", temperature: "samples-temperature", count: "samples-count", seed: "samples-seed",
  });
  const temperature = () => { at("samples-temperature-shown").textContent = Number(at("samples-temperature").value).toFixed(1); };
  at("samples-temperature").addEventListener("input", () => { temperature(); write(); });
  at("samples-temperature").addEventListener("shown", temperature);
  for (const side of SIDES) select(side).addEventListener("change", () => { clear(side); write(); });
  at("samples-form").addEventListener("submit", (event) => {
    event.preventDefault();
    at("samples-seed").value = any();
    write();
  });
  chosen = restore("samples");
}

// The first samples are written when the tab is opened.
export function show() {
  if (!found.flat().length) write();
}
