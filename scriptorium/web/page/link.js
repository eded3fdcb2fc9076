// The address of the page says what it shows: #tab=texts&run=...&first=...; opening it brings the same state back.

import { at } from "./dom.js";

const fields = {}; // tab -> name in the address -> id of an input
let current = null;

export const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

// Says which inputs of a tab belong to its state. Those in the address get their values from it.
export function bind(tab, inputs) {
  fields[tab] = inputs;
  for (const id of Object.values(inputs)) {
    at(id).addEventListener("input", save);
    at(id).addEventListener("change", save);
  }
}

// Takes the values of a tab from the address, those of some inputs or of all; returns whether there were any.
export function restore(tab, names = Object.keys(fields[tab])) {
  if (given.tab !== tab) return false;
  let any = false;
  for (const name of names) {
    const input = at(fields[tab][name]);
    if (given[name] === undefined || (input.tagName === "SELECT" && ![...input.options].some((o) => o.value === given[name]))) continue;
    input.value = given[name];
    input.dispatchEvent(new Event("shown"));
    any = true;
  }
  return any;
}

export function open(tab) {
  current = tab;
  save();
}

export function save() {
  if (!current) return;
  const values = new URLSearchParams({ tab: current });
  for (const [name, id] of Object.entries(fields[current] || {})) if (at(id).value) values.set(name, at(id).value);
  history.replaceState(null, "", `#${values}`);
}
