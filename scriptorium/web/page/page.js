"use strict";
// The page of demo.py. Input goes to /api as JSON, and answers are shown as text, never as HTML.

const at = (id) => document.getElementById(id);
const state = { runs: [], map: null, cross: [0, 0], stop: null, waiting: 0 };

function trouble(text) {
  at("trouble").textContent = text || "";
  at("trouble").hidden = !text;
}

function working(change) {
  state.waiting += change;
  at("working").textContent = state.waiting > 0 ? "Computing …" : "";
  at("progress").hidden = state.waiting <= 0;
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function request(name, body, signal) {
  // Being busy is not the visitor's fault, so try again for a while.
  for (let attempt = 0; ; attempt += 1) {
    const response = await fetch(`/api/${name}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal,
    });
    if (response.ok) return response;
    const message = (await response.json().catch(() => ({}))).error || `Status ${response.status}.`;
    if (![429, 503].includes(response.status) || attempt === 4) throw new Error(message);
    await pause(300 * (attempt + 1));
  }
}

async function ask(name, body) {
  working(1);
  try {
    const found = await (await request(name, body)).json();
    trouble("");
    return found;
  } catch (error) {
    trouble(error instanceof TypeError ? "The server does not answer. Is demo.py still running?" : error.message);
    return null;
  } finally {
    working(-1);
  }
}

// While a slider is dragged, sends one request at a time and skips all waiting ones but the last.
function latest(name, body, show) {
  let running = false, again = false;
  return async function send() {
    if (running) { again = true; return; }
    running = true;
    do {
      again = false;
      const given = body();
      const found = given && await ask(name, given);
      if (found) show(found);
    } while (again);
    running = false;
  };
}

function list(place, rows, make) {
  place.replaceChildren(...rows.map((row) => {
    const item = document.createElement("li");
    make(item, row);
    return item;
  }));
}

const unknownOf = (found) => (found.unknown && found.unknown.length ? `Not in the model's vocabulary: ${found.unknown.join(" ")}` : "");
const any = () => Math.floor(Math.random() * 2147483647);
const runOf = (id) => state.runs.find((run) => run.id === id);

function fill(select, runs) {
  select.replaceChildren(...runs.map((run) => new Option(run.label, run.id)));
  select.closest("label").hidden = runs.length < 2;
}

// Tabs ---------------------------------------------------------------------------------------------------------------

const TABS = [["names", "Names"], ["texts", "Sentences and code"], ["continue", "Continue"], ["map", "Map"]];

function choose(name, focus) {
  for (const tab of at("tabs").children) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    at(tab.getAttribute("aria-controls")).hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
  trouble("");
  if (name === "map" && !state.map) loadMap();
}

function makeTabs(shown) {
  at("tabs").replaceChildren(...TABS.filter(([name]) => shown.has(name)).map(([name, title]) => {
    const tab = document.createElement("button");
    Object.assign(tab, { type: "button", id: `tab-${name}`, textContent: title });
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", `panel-${name}`);
    tab.addEventListener("click", () => choose(name));
    return tab;
  }));
  at("tabs").addEventListener("keydown", (event) => {
    const tabs = [...at("tabs").children], now = tabs.findIndex((tab) => tab.tabIndex === 0);
    const to = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(tabs[(to + tabs.length) % tabs.length].id.slice(4), true);
  });
}

// Names --------------------------------------------------------------------------------------------------------------

let nameSeed = 1;
const askNames = latest("names", () => ({
  run: at("names-run").value, language: at("names-language").value, prefix: at("names-prefix").value,
  anchor: at("names-anchor").value, radius: Number(at("names-radius").value),
  count: Number(at("names-count").value) || 1, seed: nameSeed,
}), (found) => {
  list(at("names-found"), found.names, (item, row) => {
    const name = document.createElement("strong"), about = document.createElement("small");
    name.textContent = row.name || "(empty)";
    if (row.nearest !== null) about.textContent = row.distance === 0 ? "seen in training" : `new; most similar: ${row.nearest}`;
    item.append(name, about);
  });
  if (unknownOf(found)) trouble(unknownOf(found));
});

// Labels may be language codes, or anything else.
function languageOf(label) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(label);
  } catch {
    return label;
  }
}

function chooseNames() {
  const run = runOf(at("names-run").value), walk = at("names-walk");
  const options = run.languages.map((label) => new Option(languageOf(label), label));
  at("names-language").replaceChildren(new Option("any", ""), ...options.sort((a, b) => a.text.localeCompare(b.text)));
  at("names-language").closest("label").hidden = !run.languages.length;
  [walk.first.value, walk.second.value] = run.examples;
  at("names-found").replaceChildren();
  at("names-steps").replaceChildren();
  askNames();
}

function setUpNames(runs) {
  fill(at("names-run"), runs);
  at("names-run").addEventListener("change", chooseNames);
  const walk = at("names-walk");
  at("names-form").addEventListener("submit", (event) => { event.preventDefault(); nameSeed = any(); askNames(); });
  for (const id of ["names-language", "names-prefix", "names-anchor"]) at(id).addEventListener("change", askNames);
  at("names-radius").addEventListener("input", () => {
    at("names-radius-shown").textContent = Number(at("names-radius").value).toFixed(1);
    if (at("names-anchor").value) askNames();
  });
  walk.addEventListener("submit", async (event) => {
    event.preventDefault();
    const ends = { first: walk.first.value, second: walk.second.value };
    const found = await ask("walk", { run: at("names-run").value, ...ends, points: 9 });
    if (found) list(at("names-steps"), found.walk, (item, row) => { item.textContent = row.text || "(empty)"; });
  });
  chooseNames();
}

// Sentences and code ---------------------------------------------------------------------------------------------------

const textsBody = (more) => {
  const [first, second] = [at("texts-first").value, at("texts-second").value];
  return first.trim() && second.trim() ? { run: at("texts-run").value, first, second, ...more } : null;
};
const askBetween = latest("between", () => textsBody({ share: Number(at("texts-share").value) / 100 }), (found) => {
  at("texts-between").textContent = found.text || "(empty)";
  at("texts-unknown").textContent = unknownOf(found);
});

function showTexts(rows) {
  list(at("texts-found"), rows, (item, row) => { item.textContent = row || "(empty)"; });
}

function chooseTexts() {
  const run = runOf(at("texts-run").value), code = run.script === "transformer_vae";
  [at("texts-first").value, at("texts-second").value] = run.examples;
  at("texts-found").classList.toggle("code", code);
  at("texts-between").closest(".result").classList.toggle("code", code);
  showTexts([]);
  askBetween();
}

function setUpTexts(runs) {
  fill(at("texts-run"), runs);
  at("texts-run").addEventListener("change", chooseTexts);
  at("texts-form").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["texts-first", "texts-second"]) at(id).addEventListener("change", askBetween);
  at("texts-share").addEventListener("input", () => {
    at("texts-share-shown").textContent = `${at("texts-share").value}%`;
    askBetween();
  });
  at("texts-walk").addEventListener("click", async () => {
    const found = textsBody() && await ask("walk", textsBody({ points: 7 }));
    if (found) showTexts(found.walk.map((row) => row.text));
  });
  at("texts-reconstruct").addEventListener("click", async () => {
    const rows = [];
    for (const id of ["texts-first", "texts-second"]) {
      const found = at(id).value.trim() && await ask("reconstruct", { run: at("texts-run").value, text: at(id).value });
      if (found) rows.push(found.text);
    }
    showTexts(rows);
  });
  at("texts-sample").addEventListener("click", async () => {
    const found = await ask("sample", { run: at("texts-run").value, count: 8, seed: any() });
    if (found) showTexts(found.texts);
  });
  chooseTexts();
}

// Continue -----------------------------------------------------------------------------------------------------------

async function continueText(event) {
  event.preventDefault();
  if (state.stop) state.stop.abort();
  const controller = state.stop = new AbortController();
  const prompt = at("continue-prompt").value, given = document.createElement("b"), more = document.createTextNode("");
  given.textContent = prompt;
  at("continue-text").replaceChildren(given, more);
  at("continue-stop").disabled = false;
  trouble("");
  working(1);
  try {
    const response = await request("continue", {
      run: at("continue-run").value, prompt, temperature: Number(at("continue-temperature").value),
      length: Number(at("continue-length").value) || 200, seed: any(),
    }, controller.signal);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) more.data += piece.value;
  } catch (error) {
    if (error.name !== "AbortError") trouble(error.message);
  } finally {
    working(-1);
    if (state.stop === controller) { state.stop = null; at("continue-stop").disabled = true; }
  }
}

function setUpContinue(runs) {
  fill(at("continue-run"), runs);
  at("continue-form").addEventListener("submit", continueText);
  at("continue-stop").addEventListener("click", () => state.stop && state.stop.abort());
  at("continue-temperature").addEventListener("input", () => {
    at("continue-temperature-shown").textContent = Number(at("continue-temperature").value).toFixed(1);
  });
  at("continue-prompt").value = "The ";
}

// Map ----------------------------------------------------------------------------------------------------------------

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

function scaleOf(points) {
  const spread = (axis) => Math.max(...points.map((point) => Math.abs(point[axis]))) * 1.05 || 1;
  return [spread(1), spread(2)];
}

function drawMap() {
  const canvas = at("map-canvas"), pen = canvas.getContext("2d"), [w, h] = [canvas.width, canvas.height];
  const place = (x, y) => [w / 2 * (1 + x / state.scale[0]), h / 2 * (1 - y / state.scale[1])];
  pen.clearRect(0, 0, w, h);
  pen.fillStyle = color("--dot");
  for (const [, x, y] of state.map) {
    pen.beginPath();
    pen.arc(...place(x, y), 4, 0, 2 * Math.PI);
    pen.fill();
  }
  const [x, y] = place(...state.cross);
  pen.strokeStyle = color("--here");
  pen.lineWidth = 3;
  pen.beginPath();
  pen.moveTo(x - 12, y); pen.lineTo(x + 12, y); pen.moveTo(x, y - 12); pen.lineTo(x, y + 12);
  pen.stroke();
}

const askTextAt = latest("text_at", () => ({ run: at("map-run").value, x: state.cross[0], y: state.cross[1] }), (found) => {
  at("map-text").textContent = found.text || "(empty)";
  const far = ([, x, y]) => ((x - state.cross[0]) / state.scale[0]) ** 2 + ((y - state.cross[1]) / state.scale[1]) ** 2;
  const nearest = state.map.reduce((best, point) => (far(point) < far(best) ? point : best));
  at("map-near").textContent = `Nearest dot: ${nearest[0]}`;
});

async function loadMap() {
  const found = await ask("map", { run: at("map-run").value });
  if (!found) return;
  state.map = found.points;
  state.scale = scaleOf(found.points);
  state.cross = [0, 0];
  const code = runOf(at("map-run").value).script === "transformer_vae";
  at("map-text").closest(".result").classList.toggle("code", code);
  drawMap();
  askTextAt();
}

function setUpMap(runs) {
  fill(at("map-run"), runs);
  at("map-run").addEventListener("change", loadMap);
  const canvas = at("map-canvas");
  canvas.addEventListener("click", (event) => {
    if (!state.map) return;
    const box = canvas.getBoundingClientRect();
    state.cross = [
      ((event.clientX - box.left) / box.width * 2 - 1) * state.scale[0],
      (1 - (event.clientY - box.top) / box.height * 2) * state.scale[1],
    ];
    drawMap();
    askTextAt();
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!state.map || (!step && event.key !== "Enter")) return;
    event.preventDefault();
    if (step) {
      state.cross = state.cross.map((value, axis) => {
        const most = state.scale[axis];
        return Math.max(-most, Math.min(most, value + step[axis] * most / 20));
      });
      drawMap();
    } else askTextAt();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.map && drawMap());
}

// Start --------------------------------------------------------------------------------------------------------------

async function start() {
  try {
    state.runs = (await (await fetch("/api/runs")).json()).runs;
  } catch {
    trouble("The server does not answer. Is demo.py still running?");
    return;
  }
  const ready = state.runs.filter((run) => run.pretrained).length;
  const whose = ready === 0 ? "" : ready === state.runs.length ? ", bundled with the project" : `, ${ready} of them bundled with the project`;
  at("about").textContent = `${state.runs.length} trained ${state.runs.length === 1 ? "model" : "models"}${whose}. Everything runs on this machine.`;
  const [names, texts, running] = ["names", "texts", "running"].map((kind) => state.runs.filter((run) => run.kind === kind));
  const shown = new Set();
  if (names.length) shown.add("names");
  if (texts.length) shown.add("texts");
  if (running.length) shown.add("continue");
  if (names.length || texts.length) shown.add("map");
  makeTabs(shown);
  if (names.length) setUpNames(names);
  if (texts.length) setUpTexts(texts);
  if (running.length) setUpContinue(running);
  if (shown.has("map")) setUpMap([...texts, ...names]);
  if (shown.size) choose(TABS.map(([name]) => name).find((name) => shown.has(name)));
}

start();
