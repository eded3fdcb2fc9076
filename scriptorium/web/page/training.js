// The tab "Training": runs that are being trained at the moment, with their curves and their last samples.

import { at, make } from "./dom.js";

const EVERY = 5000; // milliseconds between two looks
const [WIDTH, HEIGHT, EDGE] = [420, 180, 34];
let timer = null;

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function chart(name, curves) {
  const all = Object.values(curves).flat(), values = all.map(([, y]) => y), last = Math.max(...all.map(([x]) => x), 2);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const place = ([x, y]) => [
    EDGE + (x - 1) / (last - 1) * (WIDTH - EDGE - 8), 10 + (high - y) / (high - low || 1) * (HEIGHT - EDGE - 10),
  ].map((value) => value.toFixed(1)).join(",");
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${name} by epoch` });
  for (const [kind, points] of Object.entries(curves)) {
    if (!points.length) continue;
    picture.append(svg("polyline", { points: points.map(place).join(" "), class: `curve ${kind}` }));
    picture.append(svg("circle", { cx: place(points.at(-1)).split(",")[0], cy: place(points.at(-1)).split(",")[1], r: 4, class: `end ${kind}` }));
  }
  const label = (x, y, text, anchor) => svg("text", { x, y, "text-anchor": anchor }, text);
  picture.append(
    label(EDGE, HEIGHT - 12, "epoch 1", "start"), label(WIDTH - 8, HEIGHT - 12, String(last), "end"),
    label(EDGE - 4, 16, high.toPrecision(3), "end"), label(EDGE - 4, HEIGHT - EDGE, low.toPrecision(3), "end"),
  );
  const now = Object.entries(curves).filter(([, points]) => points.length).map(([kind, points]) => `${kind} ${points.at(-1)[1].toPrecision(4)}`);
  return make("figure", {}, make("figcaption", { textContent: `${name}: ${now.join(", ")}` }), picture);
}

function cardOf(run) {
  const left = run.minutes_left === null ? "" : `, about ${Math.max(1, Math.round(run.minutes_left))} minutes left`;
  const card = make("article", {}, make("h2", { textContent: run.label }));
  const bar = make("progress", { max: run.epochs, value: run.done });
  bar.setAttribute("aria-label", "epochs done");
  card.append(bar, make("p", { className: "note", textContent: `${run.done} of ${run.epochs} epochs${left}` }));
  card.append(make("div", { className: "beside" }, ...Object.entries(run.curves).map(([name, curves]) => chart(name, curves))));
  if (run.samples.length) card.append(make("pre", { className: "result", textContent: run.samples.join("\n") }));
  return card;
}

async function look() {
  clearTimeout(timer);
  if (at("panel-training").hidden) return;
  try {
    const { training } = await (await fetch("/api/training")).json();
    at("training-none").hidden = training.length > 0;
    at("training-found").replaceChildren(...training.map(cardOf));
  } catch {
    // The other tabs say that the server is gone.
  }
  timer = setTimeout(look, EVERY);
}

export const show = look;
export function refresh() {}
export function setUp() {}
