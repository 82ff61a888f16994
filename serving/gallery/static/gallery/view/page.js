// What the server put into the page for the viewers: data as JSON, texts in the person's language. One result is shown at
// a time; another may take its place on the page of a model.
export let root = null;
export let data = {};
/** Aborted when another result takes the place of this one: for listeners and tools that would outlive its elements. */
export let gone = new AbortController().signal;

let end = new AbortController();
let texts = {};

/** Turns to the result in the element [data-view]. */
export function turnTo(view) {
  end.abort();
  end = new AbortController();
  gone = end.signal;
  root = view;
  data = JSON.parse(view.querySelector("#view-data").textContent);
  texts = {};
  for (const one of view.querySelector("#view-texts").content.children) texts[one.dataset.name] = one.textContent.trim();
}

/** A text by its name; `{name}` in it stands for a value. */
export function text(name, values = {}) {
  return texts[name].replace(/\{(\w+)\}/g, (whole, key) => (key in values ? values[key] : whole));
}

export function percent(share, digits = 0) {
  const shown = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: digits }).format(100 * share);
  return `${shown}\u00a0%`; // as the server writes it
}

export function number(value, digits = 2) {
  return new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

/** A class's name for people. */
export const named = (name) => data.names?.[name] ?? name.replaceAll("_", " ");

/** The only element of the viewer with this data attribute, or null. */
export const part = (name) => root.querySelector(`[data-${name}]`);

/** Makes an element. Properties are set as such, `data` as data attributes; children are nodes or texts. */
export function make(tag, properties = {}, ...children) {
  const { data: marks = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, marks);
  made.append(...children);
  return made;
}

/** Makes an SVG element. Attributes are presentation attributes, which the security policy allows. */
export function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Dark or light, whichever reads better on a colour "#rrggbb". */
export function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255).map((v) => (v <= 0.04 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#101418" : "#ffffff";
}

export const typing = (target) => ["TEXTAREA", "SELECT"].includes(target.tagName) || Boolean(target.matches?.("input:not([type=range]):not([type=checkbox])"));
