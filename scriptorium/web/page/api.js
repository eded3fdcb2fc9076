// Requests to demo.py: JSON to /api, answers as JSON or as a stream of text.

import { at } from "./dom.js";

let waiting = 0;

export function trouble(text) {
  at("trouble").textContent = text || "";
  at("trouble").hidden = !text;
}

export function working(change) {
  waiting += change;
  at("working").textContent = waiting > 0 ? "Computing …" : "";
  at("progress").hidden = waiting <= 0;
}

export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export async function request(name, body, signal) {
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

export async function ask(name, body) {
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

// While a slider is dragged, sends one request at a time and skips all waiting ones but the last. What is shown always
// belongs to the last input.
export function latest(name, body, show) {
  let running = false, again = false;
  return async function send() {
    if (running) { again = true; return; }
    running = true;
    do {
      again = false;
      const given = body();
      const found = given && await ask(name, given);
      if (found && !again) show(found);
    } while (again);
    running = false;
  };
}

export async function runs() {
  return (await (await fetch("/api/runs")).json()).runs;
}
