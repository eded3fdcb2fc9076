// The tab "Map": codes of texts in the plane in which they vary most. A walk between two dots can be drawn on it.

import { ask, latest } from "./api.js";
import { at, isolated, list, make, offer, shown } from "./dom.js";
import { bind, restore, save } from "./link.js";

const COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6BD1", "#B8A900"], OTHER = "#8a8f94";
let runs = [], loading = null, points = null, columns = {}, scale = [1, 1], view = { zoom: 1, x: 0, y: 0 }, ends = [], path = [], hover = null, drag = null;

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
const canvas = () => at("map-canvas");
const cross = () => [Number(at("map-x").value) || 0, Number(at("map-y").value) || 0];

function toPixels([x, y]) {
  const { width, height } = canvas();
  return [width / 2 * (1 + (x - view.x) / scale[0] * view.zoom), height / 2 * (1 - (y - view.y) / scale[1] * view.zoom)];
}

function fromEvent(event) {
  const box = canvas().getBoundingClientRect();
  const [u, v] = [(event.clientX - box.left) / box.width * 2 - 1, 1 - (event.clientY - box.top) / box.height * 2];
  return [view.x + u * scale[0] / view.zoom, view.y + v * scale[1] / view.zoom];
}

function nearest(place) {
  const far = ([, x, y]) => ((x - place[0]) / scale[0]) ** 2 + ((y - place[1]) / scale[1]) ** 2;
  return points.reduce((best, point) => (far(point) < far(best) ? point : best));
}

function classesOf(name) {
  // The most frequent values have colors, the others are gray.
  const counts = new Map();
  for (const value of columns[name] || []) counts.set(value, (counts.get(value) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, COLORS.length).map(([value]) => value);
}

function draw() {
  if (!points) return;
  const pen = canvas().getContext("2d"), name = at("map-color").value, classes = classesOf(name);
  pen.clearRect(0, 0, canvas().width, canvas().height);
  points.forEach((point, index) => {
    const kind = classes.indexOf((columns[name] || [])[index]);
    pen.fillStyle = !columns[name] ? color("--dot") : kind < 0 ? OTHER : COLORS[kind];
    pen.beginPath();
    pen.arc(...toPixels([point[1], point[2]]), point === hover ? 8 : 4.5, 0, 2 * Math.PI);
    pen.fill();
  });
  pen.strokeStyle = pen.fillStyle = color("--here");
  pen.lineWidth = 3;
  if (path.length) {
    pen.beginPath();
    path.forEach((step, index) => pen[index ? "lineTo" : "moveTo"](...toPixels([step.x, step.y])));
    pen.stroke();
  }
  for (const end of ends) {
    pen.beginPath();
    pen.arc(...toPixels([end[1], end[2]]), 8, 0, 2 * Math.PI);
    pen.fill();
  }
  const [x, y] = toPixels(cross());
  pen.beginPath();
  pen.moveTo(x - 12, y); pen.lineTo(x + 12, y); pen.moveTo(x, y - 12); pen.lineTo(x, y + 12);
  pen.stroke();
}

function legend() {
  const name = at("map-color").value, classes = classesOf(name), others = new Set(columns[name] || []).size > classes.length;
  list(at("map-legend"), [...classes, ...(others ? ["others"] : [])], (item, value, index) => {
    const dot = make("span", { className: "dot" });
    dot.style.backgroundColor = index < classes.length ? COLORS[index] : OTHER;
    item.append(dot, ` ${value}`);
  });
}

const askTextAt = latest("text_at", () => ({ run: at("map-run").value, x: cross()[0], y: cross()[1] }), (found) => {
  at("map-text").textContent = shown(found.text);
  at("map-near").replaceChildren("Decoded near the code of: ", isolated(found.near));
});

function moveTo(place) {
  const inside = (value, most) => Math.max(-1000, Math.min(1000, Math.max(-3 * most, Math.min(3 * most, value))));
  [at("map-x").value, at("map-y").value] = place.map((value, axis) => inside(value, scale[axis]).toFixed(4));
  save();
  draw();
}

async function walk() {
  path = [];
  if (ends.length === 2) {
    const asked = ends, found = await ask("walk", { run: at("map-run").value, first: ends[0][0], second: ends[1][0], points: 7 });
    if (asked !== ends) return;
    if (found) path = found.walk;
  }
  list(at("map-steps"), path, (item, row) => { item.append(isolated(row.text)); });
  draw();
}

async function load() {
  const run = loading = at("map-run").value, found = await ask("map", { run });
  if (loading === run) loading = null;
  if (!found || run !== at("map-run").value) return;
  ({ points, columns } = found);
  scale = [1, 2].map((axis) => Math.max(...points.map((point) => Math.abs(point[axis]))) * 1.05 || 1);
  view = { zoom: 1, x: 0, y: 0 };
  [ends, path, hover] = [[], [], null];
  at("map-steps").replaceChildren();
  at("map-color").replaceChildren(...Object.keys(columns).map((name) => new Option(name, name)));
  at("map-color").closest("label").hidden = !Object.keys(columns).length;
  const code = runs.find((run) => run.id === at("map-run").value).script === "transformer_vae";
  at("map-text").closest(".result").classList.toggle("code", code);
  restore("map", ["color"]);
  legend();
  draw();
  askTextAt();
}

function zoom(factor, place = [view.x, view.y]) {
  const before = view.zoom;
  view.zoom = Math.max(1, Math.min(20, view.zoom * factor));
  const share = view.zoom === 1 ? 1 : 1 - before / view.zoom;
  view = view.zoom === 1 ? { zoom: 1, x: 0, y: 0 } : { zoom: view.zoom, x: view.x + (place[0] - view.x) * share, y: view.y + (place[1] - view.y) * share };
  draw();
}

function pressed(event) {
  if (!points) return;
  const place = fromEvent(event), end = ends.findIndex((point) => point === nearest(place));
  drag = at("map-mode").checked ? { end: end >= 0 ? end : null, moved: false } : null;
  if (drag && drag.end === null) {
    ends = [...ends.slice(-1), nearest(place)];
    drag.end = ends.length - 1;
    drag.moved = true;
  }
  if (!drag) { moveTo(place); askTextAt(); }
  draw();
}

function moved(event) {
  if (!points) return;
  const place = fromEvent(event), near = nearest(place);
  if (drag) { ends = ends.map((end, index) => (index === drag.end ? near : end)); drag.moved = true; }
  const [x, y] = toPixels([near[1], near[2]]), box = canvas().getBoundingClientRect(), ratio = canvas().width / box.width;
  const close = Math.hypot(x - (event.clientX - box.left) * ratio, y - (event.clientY - box.top) * ratio) < 14;
  hover = close ? near : null;
  at("map-hover").textContent = close ? near[0] : " ";
  draw();
}

export function refresh(all) {
  runs = all.filter((run) => run.state === "ready");
  offer("map-run", runs);
  at("map-run").closest("label").hidden = runs.length < 2;
}

export function show() {
  if (!points && !loading) load();
}

export function setUp(all) {
  refresh(all);
  bind("map", { run: "map-run", color: "map-color", x: "map-x", y: "map-y" });
  restore("map");
  at("map-run").addEventListener("change", load);
  at("map-color").addEventListener("change", () => { legend(); draw(); });
  at("map-mode").addEventListener("change", () => { [ends, path] = [[], []]; at("map-steps").replaceChildren(); draw(); });
  at("map-in").addEventListener("click", () => zoom(1.6, cross()));
  at("map-out").addEventListener("click", () => zoom(1 / 1.6, cross()));
  canvas().addEventListener("pointerdown", pressed);
  canvas().addEventListener("pointermove", moved);
  canvas().addEventListener("pointerup", () => { if (drag && drag.moved) walk(); drag = null; });
  canvas().addEventListener("wheel", (event) => { if (points && event.ctrlKey) { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, fromEvent(event)); } });
  canvas().addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!points || (!step && !["Enter", "+", "-"].includes(event.key))) return;
    event.preventDefault();
    if (event.key === "Enter") askTextAt();
    else if (step) moveTo(cross().map((value, axis) => value + step[axis] * scale[axis] / 20 / view.zoom));
    else zoom(event.key === "+" ? 1.6 : 1 / 1.6, cross());
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
