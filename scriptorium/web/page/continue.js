// The tab "Continue": a text, continued while it is written.

import { request, trouble, working } from "./api.js";
import { any, at, make, offer } from "./dom.js";
import { bind, restore, save } from "./link.js";

let runs = [], stop = null, written = "";

async function write(prompt, seed) {
  if (stop) stop.abort();
  const controller = stop = new AbortController();
  const more = document.createTextNode("");
  at("continue-text").replaceChildren(make("b", { textContent: prompt }), more);
  at("continue-stop").disabled = false;
  at("continue-more").disabled = true;
  trouble("");
  working(1);
  try {
    const response = await request("continue", {
      run: at("continue-run").value, prompt, temperature: Number(at("continue-temperature").value),
      length: Number(at("continue-length").value) || 200, seed,
    }, controller.signal);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) more.data += piece.value;
  } catch (error) {
    if (error.name !== "AbortError") trouble(error.message);
  } finally {
    working(-1);
    written = prompt + more.data;
    if (stop === controller) {
      stop = null;
      at("continue-stop").disabled = true;
      at("continue-more").disabled = !more.data;
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
  // The model reads as much of the text as it is given: the last 2,000 characters.
  at("continue-more").addEventListener("click", () => write(written.slice(-2000), any()));
  at("continue-prompt").value = "The ";
  if (restore("continue") && at("continue-seed").value) write(at("continue-prompt").value, Number(at("continue-seed").value));
}
