// Correcting boxes on the picture: each is an element that takes the focus, so that keys do all that a mouse does.
import { Boxes, within, yolo } from "./boxes.js";
import { Draft } from "./drafts.js";
import { data, inkOn, named, part, root, shape, text } from "./page.js";

const CORNERS = ["lt", "rt", "rb", "lb"];
const LEAST = 4; // CSS pixels that a drawn box must have, else it was a click

export function openEditor(findings) {
  return new Editor(findings);
}

class Editor {
  constructor(findings) {
    this.svg = part("editor");
    this.draft = new Draft(data.run, part("edit-saved"));
    const kept = this.draft.read();
    const boxes = kept ?? findings.above().map(({ box, class_id: number }) => ({ box: [...box], class_id: number }));
    this.boxes = new Boxes(boxes, data.width, data.height);
    this.chosen = -1;
    this.ended = new AbortController();
    this.digits = digits(findings);
    this.#wire();
    this.#show(true);
    if (kept) part("edit-saved").textContent = text("restored");
  }

  label() { return yolo(this.boxes.all, data.width, data.height); }

  sent() { this.draft.drop(); }

  close() {
    this.ended.abort();
    this.watch.disconnect();
    this.draft.stop();
    this.#show(false);
  }

  get scale() { return this.svg.clientWidth / data.width; }

  #show(on) {
    this.svg.toggleAttribute("hidden", !on);
    part("edit").hidden = !on;
    part("controls").hidden = on;
    root.classList.toggle("view-editing", on);
  }

  #wire() {
    const until = { signal: this.ended.signal };
    this.svg.addEventListener("keydown", (event) => this.#key(event), until);
    this.svg.addEventListener("pointerdown", (event) => this.#press(event), until);
    this.svg.addEventListener("focusin", (event) => this.#choose(Number(event.target.closest("[data-box]")?.dataset.box ?? -1)), until);
    part("edit-class").addEventListener("change", (event) => this.#change(() => { this.boxes.all[this.chosen].class_id = Number(event.target.value); }), until);
    part("edit-new").addEventListener("click", () => this.#add(), until);
    part("edit-delete").addEventListener("click", () => this.#remove(), until);
    part("edit-undo").addEventListener("click", () => this.#turn("undo"), until);
    part("edit-redo").addEventListener("click", () => this.#turn("redo"), until);
    part("edit-digits").textContent = this.digits.map((number, at) => `${at + 1} ${named(data.classes[number].class)}`).join(" · ");
    this.watch = new ResizeObserver(() => this.#draw());
    this.watch.observe(this.svg);
  }

  /** A change that can be undone. */
  #change(how) {
    this.boxes.mark();
    how();
    this.#draw();
    this.draft.keep(this.boxes.all);
  }

  #turn(way) {
    if (!this.boxes[way]()) return;
    this.chosen = within(this.chosen, -1, this.boxes.all.length - 1);
    this.#draw();
    this.draft.keep(this.boxes.all);
    this.#focus();
  }

  #choose(number) {
    if (this.chosen === number) return;
    this.chosen = number;
    this.#draw();
    this.#focus();
  }

  #focus() { this.svg.querySelector(`[data-box="${this.chosen}"]`)?.focus(); }

  #add(box) {
    const [w, h] = [data.width, data.height];
    const number = this.boxes.all[this.chosen]?.class_id ?? this.digits[0];
    this.#change(() => this.boxes.all.push({ box: box ?? [w * 0.4, h * 0.4, w * 0.6, h * 0.6], class_id: number }));
    this.#choose(this.boxes.all.length - 1);
  }

  #remove() {
    if (this.chosen < 0) return;
    const next = Math.min(this.chosen, this.boxes.all.length - 2);
    this.#change(() => this.boxes.all.splice(this.chosen, 1));
    this.chosen = next;
    this.#draw();
    if (next >= 0) this.#focus();
    else this.svg.focus();
  }

  #key(event) {
    const ctrl = event.ctrlKey || event.metaKey;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (ctrl && event.key.toLowerCase() === "z") this.#turn(event.shiftKey ? "redo" : "undo");
    else if (ctrl && event.key.toLowerCase() === "y") this.#turn("redo");
    else if (arrow && this.chosen >= 0) this.#arrow(arrow, ctrl ? 10 : 1, event.shiftKey);
    else if (event.key === "Delete" || event.key === "Backspace") this.#remove();
    else if (!ctrl && event.key.toLowerCase() === "n") this.#add();
    else if (!ctrl && this.chosen >= 0 && event.key in this.#byDigit()) this.#change(() => { this.boxes.all[this.chosen].class_id = this.#byDigit()[event.key]; });
    else return;
    event.preventDefault();
    this.#focus();
  }

  #byDigit() { return Object.fromEntries(this.digits.map((number, at) => [at + 1, number])); }

  #arrow([dx, dy], times, stretches) {
    const step = Math.max(1, data.width / 400) * times;
    this.#change(() => (stretches ? this.boxes.stretch(this.chosen, "rb", dx * step, dy * step) : this.boxes.move(this.chosen, dx * step, dy * step)));
  }

  /** A press on a corner, a box, or the picture: changes its size, moves it, or draws a new one. */
  #press(event) {
    if (event.button) return;
    event.preventDefault();
    const box = event.target.closest("[data-box]");
    const sides = event.target.dataset.corner;
    if (box) this.#choose(Number(box.dataset.box));
    const { left, top } = this.svg.getBoundingClientRect();
    const at = (one) => [within((one.clientX - left) / this.scale, 0, data.width), within((one.clientY - top) / this.scale, 0, data.height)];
    const began = at(event);
    const before = structuredClone(this.boxes.all);
    let moved = false;
    const drag = (one) => {
      const [x, y] = at(one);
      const [dx, dy] = [x - began[0], y - began[1]];
      moved ||= Math.hypot(dx, dy) * this.scale > LEAST;
      if (!moved) return;
      this.boxes.all = structuredClone(before);
      if (!box) this.boxes.all.push({ box: [Math.min(x, began[0]), Math.min(y, began[1]), Math.max(x, began[0], Math.min(x, began[0]) + 1), Math.max(y, began[1], Math.min(y, began[1]) + 1)], class_id: this.boxes.all[this.chosen]?.class_id ?? this.digits[0] });
      else if (sides) this.boxes.stretch(this.chosen, sides, dx, dy);
      else this.boxes.move(this.chosen, dx, dy);
      this.#draw();
    };
    const drop = () => {
      this.svg.removeEventListener("pointermove", drag);
      if (!moved) {
        if (!box) this.#choose(-1);
        else this.#focus();
        return;
      }
      const after = this.boxes.all;
      this.boxes.all = before;
      this.#change(() => { this.boxes.all = after; });
      if (!box) this.chosen = after.length - 1;
      this.#draw();
      this.#focus();
    };
    this.svg.setPointerCapture(event.pointerId);
    this.svg.addEventListener("pointermove", drag);
    this.svg.addEventListener("lostpointercapture", drop, { once: true });
  }

  #draw() {
    const { svg, scale } = this;
    svg.setAttribute("viewBox", `0 0 ${svg.clientWidth || 1} ${svg.clientHeight || 1}`);
    const focused = svg.contains(document.activeElement);
    svg.replaceChildren(...this.boxes.all.map((one, number) => drawn(one, number, this.boxes.all.length, scale, number === this.chosen)));
    if (focused) this.#focus();
    const one = this.boxes.all[this.chosen];
    part("edit-class").disabled = part("edit-delete").disabled = !one;
    if (one) part("edit-class").value = one.class_id;
    part("edit-undo").disabled = !this.boxes.past.length;
    part("edit-redo").disabled = !this.boxes.future.length;
    part("edit-status").textContent = text("boxes", { all: this.boxes.all.length });
  }
}

/** The classes that the digits 1 to 9 set: those that were found, then the model's others. */
function digits(findings) {
  const found = findings.items.map((one) => one.class_id);
  return [...new Set([...found, ...data.classes.keys()])].slice(0, 9);
}

function drawn(one, number, all, scale, chosen) {
  const [x1, y1, x2, y2] = one.box.map((edge) => edge * scale);
  const { class: name, colour } = data.classes[one.class_id];
  const [left, top, wide, tall] = [one.box[0], one.box[1], one.box[2] - one.box[0], one.box[3] - one.box[1]].map(Math.round);
  const words = text("box", { name: named(name), number: number + 1, all, left, top, wide, tall });
  const group = shape("g", { class: chosen ? "view-edit-box chosen" : "view-edit-box", "data-box": number, tabindex: 0, role: "button", "aria-label": words, "aria-pressed": chosen });
  const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
  group.append(shape("rect", { ...place, class: "view-box-seam" }), shape("rect", { ...place, stroke: colour, fill: colour, class: "view-box-line filled" }));
  const label = shape("text", { x: x1 + 4, y: Math.max(14, y1 - 5), class: "view-edit-name", fill: colour, "aria-hidden": true });
  label.textContent = named(name);
  group.append(label);
  const corners = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
  for (const [at, [x, y]] of chosen ? corners.entries() : []) group.append(shape("circle", { cx: x, cy: y, r: 7, fill: colour, stroke: inkOn(colour), class: `view-corner ${CORNERS[at]}`, "data-corner": CORNERS[at] }));
  return group;
}
