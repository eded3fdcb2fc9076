// The tab "Interpolate": texts between two texts, in one model or in two side by side.

import { ask, latest, pause } from "./api.js";
import { any, at, exportButtons, isolated, list, make, marked, offer, one, shown, unknownOf } from "./dom.js";
import { bind, restore, save } from "./link.js";

const POINTS = 9;
let runs = [], walks = [], playing = false, belongs = ""; // belongs: the inputs of what stands below

const runOf = (id) => runs.find((run) => run.id === id);
// What an answer belongs to; if it has changed in the meantime, the answer is not shown.
const inputs = () => JSON.stringify([...ends(), at("texts-run").value, at("texts-other").value]);
const ends = () => [at("texts-first").value, at("texts-second").value];
// The fields of a request, or null if there are no two texts, which the page then asks for.
function body(run, more) {
  const [first, second] = ends();
  if (first.trim() && second.trim()) return { run, first, second, ...more };
  at("texts-between").textContent = "";
  at("texts-unknown").textContent = "Enter a first and a second text.";
  return null;
}

const askBetween = latest("between", () => body(at("texts-run").value, { share: at("texts-share").value / 100 }), (found) => {
  at("texts-between").textContent = shown(found.text);
  at("texts-unknown").textContent = unknownOf(found);
});

// Equal neighbors become one row with a count; the ends stay as typed.
function collapsed(walk) {
  const rows = [];
  walk.forEach((step, index) => {
    const last = rows.at(-1), end = index === 0 || index === walk.length - 1;
    if (last && !end && !last.end && last.text === step.text) last.times += 1;
    else rows.push({ ...step, times: 1, end });
  });
  return rows;
}

function showWalk(place, run, walk) {
  const rows = collapsed(walk), least = Math.min(...rows.map((row) => row.log_prob), -1);
  place.classList.toggle("code", run.script === "transformer_vae");
  list(place, rows, (item, row, index) => {
    const bar = make("meter", { min: 0, max: 1, value: 1 - row.log_prob / least * 0.95, title: `log p(text | z) ${row.log_prob.toFixed(2)} nats` });
    bar.setAttribute("aria-label", bar.title);
    const text = make("bdi", {}, ...marked(row.text, index ? rows[index - 1].text : null));
    item.classList.toggle("end", row.end);
    item.append(bar, text);
    if (row.times > 1) item.append(make("small", { textContent: ` × ${row.times}` }));
    if (row.valid !== null) {
      const [yes, no] = run.script === "transformer_vae" ? ["parses", "does not parse"] : ["grammatical", "not grammatical"];
      item.append(make("small", { className: row.valid ? "valid" : "invalid", textContent: row.valid ? ` ✓ ${yes}` : ` ✗ ${no}` }));
    }
  });
}

function showTexts(title, rows) {
  walks = [];
  at("texts-title").textContent = title;
  at("texts-other-found").replaceChildren();
  at("texts-found").classList.toggle("code", runOf(at("texts-run").value).script === "transformer_vae");
  list(at("texts-found"), rows, (item, row) => { item.append(isolated(row)); });
  exportButtons(at("texts-export"), "texts", () => rows.map((text) => ({ text })));
}

async function walk() {
  const chosen = [at("texts-run").value, at("texts-other").value].filter(Boolean), asking = belongs = inputs();
  walks = [];
  for (const [index, id] of chosen.entries()) {
    const asked = body(id, { points: POINTS }), found = asked && await ask("walk", asked);
    if (!found || asking !== inputs()) return false;
    walks.push({ run: id, walk: found.walk });
    showWalk(at(index ? "texts-other-found" : "texts-found"), runOf(id), found.walk);
  }
  if (chosen.length < 2) at("texts-other-found").replaceChildren();
  at("texts-title").textContent = chosen.map((id) => runOf(id).label).join("   |   ");
  exportButtons(at("texts-export"), "walk", () => walks.flatMap(({ run, walk: steps }) => steps.map((step) => ({ run, ...step }))));
  return true;
}

async function play() {
  if (playing) { playing = false; return; }
  if (!await walk()) return;
  playing = true;
  at("texts-play").textContent = "Stop";
  for (const step of walks[0].walk) {
    if (!playing) break;
    at("texts-share").value = Math.round(step.share * 100);
    at("texts-share-shown").textContent = `${at("texts-share").value}%`;
    at("texts-between").textContent = shown(step.text);
    await pause(matchMedia("(prefers-reduced-motion: reduce)").matches ? 1200 : 700);
  }
  playing = false;
  at("texts-play").textContent = "Play";
  save();
}

// Removes what stands below if it belongs to other texts, or to another model.
function stale() {
  if (belongs !== inputs()) {
    playing = false;
    walks = [];
    for (const id of ["texts-found", "texts-other-found", "texts-export"]) at(id).replaceChildren();
    at("texts-title").textContent = "";
  }
  askBetween();
}

function useExamples(pair) {
  [at("texts-first").value, at("texts-second").value] = pair;
  stale();
  save();
}

function showExamples(run) {
  const pairs = [];
  for (let i = 0; i + 1 < run.examples.length; i += 2) pairs.push(run.examples.slice(i, i + 2));
  at("texts-examples").replaceChildren(...pairs.slice(0, 3).map((pair) => make("button", {
    type: "button", className: "small", textContent: `${pair[0]} → ${pair[1]}`, onclick: () => useExamples(pair),
  })));
}

function choose() {
  const run = runOf(at("texts-run").value);
  at("texts-between").closest(".result").classList.toggle("code", run.script === "transformer_vae");
  showExamples(run);
  useExamples(run.examples.slice(0, 2));
}

export function refresh(all) {
  runs = all.filter((run) => run.state === "ready");
  offer("texts-run", runs);
  offer("texts-other", runs, [new Option("nothing", "")]);
  at("texts-other").closest("label").hidden = runs.length < 2;
}

export function setUp(all) {
  refresh(all);
  bind("texts", { run: "texts-run", other: "texts-other", first: "texts-first", second: "texts-second", share: "texts-share" });
  const share = () => { at("texts-share-shown").textContent = `${at("texts-share").value}%`; };
  at("texts-share").addEventListener("shown", share);
  at("texts-run").addEventListener("change", choose);
  at("texts-other").addEventListener("change", walk);
  at("texts-form").addEventListener("submit", (event) => { event.preventDefault(); walk(); });
  for (const id of ["texts-first", "texts-second"]) at(id).addEventListener("change", stale);
  at("texts-share").addEventListener("input", () => { share(); askBetween(); });
  at("texts-play").addEventListener("click", play);
  at("texts-dice").addEventListener("click", () => {
    const { examples } = runOf(at("texts-run").value), first = one(examples);
    useExamples([first, one(examples.filter((text) => text !== first))]);
  });
  at("texts-reconstruct").addEventListener("click", async () => {
    const rows = [], asking = belongs = inputs();
    for (const text of ends()) {
      const found = text.trim() && await ask("reconstruct", { run: at("texts-run").value, text });
      if (found) rows.push(found.text);
    }
    if (asking === inputs()) showTexts("Both texts, encoded and decoded", rows);
  });
  at("texts-sample").addEventListener("click", async () => {
    const asking = belongs = inputs(), found = await ask("sample", { run: at("texts-run").value, count: 8, seed: any() });
    if (found && asking === inputs()) showTexts("New texts", found.texts);
  });
  const asked = restore("texts", ["run", "other"]);
  choose();
  if (asked) { restore("texts"); stale(); }
  if (at("texts-other").value) walk();
}
