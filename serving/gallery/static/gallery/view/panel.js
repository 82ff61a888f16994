// Beside the picture: classes with counts to switch, the score slider with what it costs, and the list of findings.
import { data, make, named, number, part, percent, shape, text } from "./page.js";

export function wirePanel(findings) {
  wireLegend(findings);
  wireScore(findings);
  wireList(findings);
}

function wireLegend(findings) {
  const legend = part("legend");
  const show = () => {
    const counts = new Map();
    for (const one of findings.items) counts.set(one.class, counts.get(one.class) ?? { colour: one.colour, count: 0 });
    for (const one of findings.above()) counts.get(one.class).count += 1;
    const sorted = [...counts].sort(([, a], [, b]) => b.count - a.count);
    const focused = document.activeElement?.dataset?.class;
    legend.replaceChildren(...sorted.map(([name, { colour, count }]) => classButton(findings, name, colour, count)));
    if (focused) [...legend.children].find((one) => one.dataset.class === focused)?.focus();
  };
  findings.addEventListener("change", show);
  show();
}

function classButton(findings, name, colour, count) {
  const on = !findings.off.has(name);
  const button = make("button", { type: "button", className: "view-class", data: { class: name } }, swatch(colour), ` ${named(name)} `, make("span", { className: "view-count" }, String(count)));
  button.setAttribute("aria-pressed", String(on));
  button.addEventListener("click", () => findings.toggle(name));
  return button;
}

export function swatch(colour) {
  const made = make("span", { className: "view-swatch" });
  made.style.background = colour;
  made.setAttribute("aria-hidden", "true");
  return made;
}

function wireScore(findings) {
  const slider = part("score");
  if (!slider) return;
  const show = () => {
    const at = number(findings.score);
    part("score-value").textContent = at;
    part("score-cost").textContent = cost(findings.score, at);
    slider.setAttribute("aria-valuetext", `${at}. ${cost(findings.score, at)}`);
    drawCurve(findings.score);
  };
  slider.addEventListener("input", () => findings.setScore(Number(slider.value)));
  part("score-reset")?.addEventListener("click", () => {
    slider.value = data.threshold;
    findings.setScore(data.threshold);
  });
  findings.addEventListener("change", show);
  show();
}

function cost(score, at) {
  const curve = data.curve;
  if (!curve) return text("not-measured");
  const step = Math.round(score * (curve.recall.length - 1));
  const share = (value) => (value == null ? text("none-there") : percent(value));
  return text("cost", { score: at, precision: share(curve.precision[step]), recall: share(curve.recall[step]), cases: curve.cases });
}

const WIDE = 240, TALL = 64;

function drawCurve(score) {
  const svg = part("curve");
  svg.classList.toggle("bare", !data.curve);
  const across = (value) => ((value - data.floor) / (1 - data.floor)) * WIDE;
  const upright = (value, name) => shape("line", { x1: across(value), x2: across(value), y1: 0, y2: TALL, class: name });
  const lines = [];
  for (const name of data.curve ? ["precision", "recall"] : []) {
    const values = data.curve[name];
    const points = values.map((value, step) => [step / (values.length - 1), value]).filter(([at, value]) => value != null && at >= data.floor - 1e-9);
    lines.push(shape("polyline", { points: points.map(([at, value]) => `${across(at)},${(1 - value) * (TALL - 4) + 2}`).join(" "), class: `view-${name}` }));
  }
  svg.setAttribute("viewBox", `0 0 ${WIDE} ${TALL}`);
  const own = data.threshold == null ? [] : [upright(data.threshold, "view-own")];
  svg.replaceChildren(...lines, ...own, upright(Math.max(score, data.floor), "view-now"));
}

function wireList(findings) {
  const list = part("list");
  const show = () => {
    const shown = findings.shown();
    const focused = document.activeElement?.dataset?.item;
    list.replaceChildren(...shown.map((one) => listed(findings, one)));
    if (focused) list.querySelector(`[data-item="${focused}"]`)?.focus();
    part("status").textContent = shown.length || !findings.items.length
      ? text(findings.items.length ? "shown" : "nothing", { shown: shown.length, all: findings.items.length })
      : text("none-shown", { all: findings.items.length });
    light();
  };
  const light = () => {
    for (const one of list.querySelectorAll("[data-item]")) {
      const lit = Number(one.dataset.item) === findings.lit;
      one.classList.toggle("lit", lit);
      if (lit && !list.matches(":hover, :focus-within")) scrollInto(list, one);
    }
  };
  findings.addEventListener("change", show);
  findings.addEventListener("light", light);
  show();
}

/** Scrolls the list and never the page. */
function scrollInto(list, one) {
  const top = one.offsetTop - list.offsetTop;
  if (top < list.scrollTop || top + one.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 3;
}

function listed(findings, one) {
  const more = one.said == null ? [] : [make("small", { className: "vl-quiet d-block" }, text("face", { share: percent(one.score) }))];
  const button = make("button", { type: "button", className: "view-item", data: { item: one.id } }, swatch(one.colour), make("span", { className: "view-item-name" }, named(one.class), ...more), bar(one.said ?? one.score, one.colour));
  for (const name of ["pointerenter", "focus", "click"]) button.addEventListener(name, () => findings.light(one.id));
  for (const name of ["pointerleave", "blur"]) button.addEventListener(name, () => findings.light(null));
  return make("li", {}, button);
}

function bar(share, colour) {
  const svg = shape("svg", { viewBox: "0 0 100 10", class: "view-bar", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(shape("rect", { width: 100, height: 10, class: "view-bar-all" }), shape("rect", { width: 100 * share, height: 10, fill: colour }));
  const value = make("span", { className: "view-item-score" }, percent(share));
  return make("span", { className: "view-item-bar" }, svg, value);
}

