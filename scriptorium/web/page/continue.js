// The tab "Continue": a text, continued while it is written, and what the model expected at each place.

import { request, trouble, working } from "./api.js";
import { any, at, make, offer } from "./dom.js";
import { bind, restore, save } from "./link.js";

const LEVELS = [0.01, 0.05, 0.2, 0.5]; // probabilities at which the shade changes
let runs = [], stop = null, start = "", tokens = [], here = -1, pinned = false; // pinned: a click holds the token, so that the pointer can leave it

const written = () => start + tokens.map((token) => token.text).join("");
const visible = (text) => text.replaceAll("\n", "↵").replaceAll(" ", "␣");
const percent = (p) => (p < 0.001 ? "< 0.1%" : `${(100 * p).toFixed(p < 0.1 ? 1 : 0)}%`);

function add(token) {
  tokens.push(token);
  const span = make("span", { textContent: token.text, className: `p${LEVELS.filter((level) => token.p >= level).length}` });
  at("continue-text").append(span);
}

// Says what the model expected at a token; each of the alternatives writes on from there.
function explain(place) {
  const spans = at("continue-text").querySelectorAll("span");
  if (spans[here]) spans[here].classList.remove("here");
  here = place;
  const token = tokens[place];
  at("continue-likely").replaceChildren();
  if (!token) return;
  spans[place].classList.add("here");
  const before = start + tokens.slice(0, place).map((one) => one.text).join("");
  const instead = token.likely.map(([text, p]) => make("button", {
    type: "button", textContent: `${visible(text.trim() || text)} ${percent(p)}`, title: "Continue from here",
    onclick: () => write((before + text).slice(-2000), any()),
  }));
  at("continue-likely").append(make("span", { textContent: `“${visible(token.text.trim() || token.text)}” has ${percent(token.p)}. Likely here:` }), ...instead);
}

async function read(response, controller) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const lines = (rest + piece.value).split("\n");
    rest = lines.pop();
    if (stop !== controller) return;
    for (const line of lines) add(JSON.parse(line));
  }
}

async function write(prompt, seed) {
  if (stop) stop.abort();
  const controller = stop = new AbortController();
  [start, tokens, pinned] = [prompt, [], false];
  explain(-1);
  at("continue-text").replaceChildren(make("b", { textContent: prompt }));
  at("continue-stop").disabled = false;
  at("continue-more").disabled = true;
  trouble("");
  working(1);
  try {
    const response = await request("continue", {
      run: at("continue-run").value, prompt, temperature: Number(at("continue-temperature").value),
      length: Number(at("continue-length").value) || 200, seed, alternatives: 4,
    }, controller.signal);
    await read(response, controller);
  } catch (error) {
    if (error.name !== "AbortError") trouble(error.message);
  } finally {
    working(-1);
    if (stop === controller) {
      stop = null;
      at("continue-stop").disabled = true;
      at("continue-more").disabled = at("continue-scale").hidden = !tokens.length;
    }
  }
}

export function refresh(all) {
  runs = all.filter((run) => run.state === "ready");
  offer("continue-run", runs);
  at("continue-run").closest("label").hidden = runs.length < 2;
}

export function setUp(all) {
  refresh(all);
  bind("continue", {
    run: "continue-run", prompt: "continue-prompt", temperature: "continue-temperature", length: "continue-length",
    seed: "continue-seed",
  });
  const temperature = () => { at("continue-temperature-shown").textContent = Number(at("continue-temperature").value).toFixed(1); };
  at("continue-temperature").addEventListener("input", temperature);
  at("continue-temperature").addEventListener("shown", temperature);
  at("continue-form").addEventListener("submit", (event) => {
    event.preventDefault();
    at("continue-seed").value = any();
    save();
    write(at("continue-prompt").value, Number(at("continue-seed").value));
  });
  at("continue-stop").addEventListener("click", () => stop && stop.abort());
  const placeOf = (event) => [...at("continue-text").querySelectorAll("span")].indexOf(event.target);
  at("continue-text").addEventListener("pointerover", (event) => { if (!pinned && placeOf(event) >= 0) explain(placeOf(event)); });
  at("continue-text").addEventListener("click", (event) => {
    const place = placeOf(event);
    pinned = place >= 0 && !(pinned && place === here);
    if (place >= 0) explain(place);
  });
  at("continue-text").addEventListener("keydown", (event) => {
    const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    pinned = true;
    explain(Math.max(0, Math.min(tokens.length - 1, to)));
  });
  // The model reads as much of the text as it is given: the last 2,000 characters.
  at("continue-more").addEventListener("click", () => write(written().slice(-2000), any()));
  at("continue-prompt").value = "The ";
  if (restore("continue") && at("continue-seed").value) write(at("continue-prompt").value, Number(at("continue-seed").value));
}
