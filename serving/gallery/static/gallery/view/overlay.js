// Boxes with names over the picture, as SVG in CSS pixels, so that lines and letters keep their size.
import { data, inkOn, named, part, percent, shape } from "./page.js";
import { onResize } from "./stage.js";

export function wireOverlay(findings) {
  const svg = part("overlay");
  const outline = part("outline");
  const names = part("names");

  const draw = () => {
    const scale = svg.clientWidth / data.width;
    svg.setAttribute("viewBox", `0 0 ${svg.clientWidth || 1} ${svg.clientHeight || 1}`);
    // Large ones first, so that small ones inside them can be pointed at.
    const order = findings.shown().toSorted((a, b) => area(b) - area(a));
    svg.replaceChildren(...order.map((one) => drawn(one, scale, outline?.checked)));
    if (names?.checked ?? true) for (const one of order) label(svg, one, scale);
    lightUp();
  };
  const lightUp = () => {
    for (const one of svg.querySelectorAll("[data-id]")) one.classList.toggle("lit", Number(one.dataset.id) === findings.lit);
  };
  findings.addEventListener("change", draw);
  findings.addEventListener("light", lightUp);
  for (const control of [outline, names]) control?.addEventListener("change", draw);
  svg.addEventListener("pointerover", (event) => {
    const box = event.target.closest("[data-id]");
    findings.light(box ? Number(box.dataset.id) : null);
  });
  svg.addEventListener("pointerleave", () => findings.light(null));
  onResize(svg, draw);
}

const area = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);

function drawn(one, scale, outlineOnly) {
  const [x1, y1, x2, y2] = one.box.map((edge) => edge * scale);
  const place = { x: x1, y: y1, width: Math.max(1, x2 - x1), height: Math.max(1, y2 - y1), rx: 2 };
  const group = shape("g", { class: "view-box", "data-id": one.id });
  group.append(
    shape("rect", { ...place, class: "view-box-seam" }),
    shape("rect", { ...place, stroke: one.colour, fill: one.colour, class: outlineOnly ? "view-box-line" : "view-box-line filled" }),
  );
  return group;
}

function label(svg, one, scale) {
  const [x1, y1] = one.box.map((edge) => edge * scale);
  const words = shape("text", { fill: inkOn(one.colour), class: "view-box-name" });
  words.textContent = `${named(one.class)} ${percent(one.said ?? one.score)}`;
  const group = shape("g", { class: "view-box-label", "data-id": one.id }, words);
  svg.append(group);
  const wide = words.getComputedTextLength() + 8;
  const left = Math.max(0, Math.min(x1, svg.clientWidth - wide));
  const top = y1 >= 18 ? y1 - 18 : y1;
  words.setAttribute("x", left + 4);
  words.setAttribute("y", top + 13);
  group.prepend(shape("rect", { x: left, y: top, width: wide, height: 18, rx: 2, fill: one.colour }));
}
