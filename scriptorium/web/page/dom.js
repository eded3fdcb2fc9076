// Small pieces of the page. Texts of models and visitors are set as text, never as HTML.

export const at = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function list(place, rows, fill) {
  place.replaceChildren(...rows.map((row, index) => {
    const item = document.createElement("li");
    fill(item, row, index);
    return item;
  }));
}

// Offers runs in a select, which keeps its choice if that is still there.
export function offer(id, runs, first = []) {
  const before = at(id).value;
  at(id).replaceChildren(...first, ...runs.map((run) => new Option(run.label, run.id)));
  if (runs.some((run) => run.id === before)) at(id).value = before;
}

export const shown = (text) => text || "(empty)";
// A text whose direction, left to right or right to left, does not touch what stands beside it.
export const isolated = (text, kind = "bdi") => make(kind, { textContent: shown(text), dir: "auto" });
export const any = () => Math.floor(Math.random() * 2147483647);
export const one = (items) => items[Math.floor(Math.random() * items.length)];
export const unknownOf = (found) => (found.unknown && found.unknown.length
  ? `Not in the model's vocabulary: ${found.unknown.join(" ")}` : "");

// The words of a text, those marked that the text before it does not have at the same place in its order.
export function marked(text, before) {
  const parts = shown(text).split(/(\s+)/), old = (before ?? text).split(/\s+/), kept = commonWords(old, parts);
  return parts.map((part, index) => (!part.trim() || kept.has(index) ? part : make("mark", { textContent: part })));
}

function commonWords(old, parts) {
  // The longest common subsequence: those words of `parts` that are in it, by their places.
  const size = Array.from({ length: old.length + 1 }, () => new Array(parts.length + 1).fill(0));
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = parts.length - 1; j >= 0; j -= 1) {
      size[i][j] = old[i] === parts[j] && parts[j].trim() ? size[i + 1][j + 1] + 1 : Math.max(size[i + 1][j], size[i][j + 1]);
    }
  }
  const kept = new Set();
  for (let i = 0, j = 0; i < old.length && j < parts.length;) {
    if (old[i] === parts[j] && parts[j].trim()) { kept.add(j); i += 1; j += 1; }
    else if (size[i + 1][j] >= size[i][j + 1]) i += 1;
    else j += 1;
  }
  return kept;
}

// Copying and downloading ---------------------------------------------------------------------------------------------

const quoted = (value) => (/[",\n]/.test(String(value ?? "")) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? ""));

export function csv(rows) {
  const names = Object.keys(rows[0] || {});
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((cells) => cells.map(quoted).join(",")).join("\n") + "\n";
}

function download(name, type, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Buttons that copy or download some rows; `rows` returns them when a button is pressed.
export function exportButtons(place, name, rows) {
  const button = (text, act) => make("button", { type: "button", className: "small", textContent: text, onclick: act });
  const copy = button("Copy", async () => {
    await navigator.clipboard.writeText(rows().map((row) => row.text ?? row.name).join("\n"));
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  place.replaceChildren(
    copy,
    button("CSV", () => download(`${name}.csv`, "text/csv", csv(rows()))),
    button("JSON", () => download(`${name}.json`, "application/json", JSON.stringify(rows(), null, 2))),
  );
}
