// Correcting the mask of a picture with a brush. What is sent is a PNG with the value of a class in each pixel.
import { data, part, root } from "./page.js";
import { within } from "./boxes.js";

const MOST_STEPS = 30;

/** @param mask as `wireMask` gives it */
export function openPaint(mask) {
  return new Paint(mask);
}

class Paint {
  constructor(mask) {
    this.mask = mask;
    this.canvas = part("mask");
    this.ended = new AbortController();
    this.before = mask.values.slice();
    this.past = [];
    this.changed = false;
    this.pen = data.classes[0].value;
    this.#wire();
    this.#show(true);
  }

  async label() {
    const file = part("brush-file");
    return file.files.length ? file.files[0] : this.#png();
  }

  sent() { this.changed = false; }

  /** What was not sent is undone, so that the page shows the answer again. */
  close() {
    this.ended.abort();
    part("brush-file").value = "";
    if (this.changed) this.mask.values.set(this.before);
    this.#show(false);
    this.mask.draw();
  }

  #show(on) {
    part("brush").hidden = !on;
    root.classList.toggle("view-painting", on);
    part("split").value = 0;
    part("split").dispatchEvent(new Event("input"));
  }

  #wire() {
    const until = { signal: this.ended.signal };
    const buttons = [...part("brush-tools").querySelectorAll("[data-pen]")];
    const choice = part("brush-class");
    const take = (erases) => {
      this.pen = erases ? 0 : Number(choice?.value ?? data.classes[0].value);
      for (const button of buttons) button.setAttribute("aria-pressed", String((button.dataset.pen === "0") === erases));
    };
    for (const button of buttons) button.addEventListener("click", () => take(button.dataset.pen === "0"), until);
    choice?.addEventListener("change", () => take(false), until);
    part("brush-undo").addEventListener("click", () => this.#undo(), until);
    this.canvas.addEventListener("pointerdown", (event) => this.#stroke(event), until);
    addEventListener("beforeunload", (event) => { if (this.changed) event.preventDefault(); }, until);
    take(false);
    this.#tell();
  }

  #stroke(event) {
    if (event.button) return;
    event.preventDefault();
    this.past.push(this.mask.values.slice());
    if (this.past.length > MOST_STEPS) this.past.shift();
    this.changed = true;
    let last = this.#at(event);
    this.#line(last, last);
    const drag = (one) => {
      for (const point of one.getCoalescedEvents?.() ?? [one]) {
        const here = this.#at(point);
        this.#line(last, here);
        last = here;
      }
    };
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.addEventListener("pointermove", drag);
    this.canvas.addEventListener("lostpointercapture", () => this.canvas.removeEventListener("pointermove", drag), { once: true });
    this.#tell();
  }

  /** Where a pointer is, in pixels of the picture. */
  #at(event) {
    const place = this.canvas.getBoundingClientRect();
    return [(event.clientX - place.left) / place.width * this.mask.width, (event.clientY - place.top) / place.height * this.mask.height];
  }

  /** Radius of the brush in pixels of the picture: the slider says it in shares of the longer side. */
  get radius() { return Math.max(0.5, part("brush-size").value / 500 * Math.max(this.mask.width, this.mask.height)); }

  #line([x1, y1], [x2, y2]) {
    const { radius, mask } = this;
    const steps = Math.max(1, Math.ceil(Math.hypot(x2 - x1, y2 - y1) / Math.max(1, radius / 2)));
    for (let step = 0; step <= steps; step += 1) this.#dab(x1 + (x2 - x1) * step / steps, y1 + (y2 - y1) * step / steps, radius);
    const edge = radius + 8;
    mask.draw(...[Math.min(x1, x2) - edge, Math.min(y1, y2) - edge].map((value) => Math.max(0, Math.floor(value))), Math.min(mask.width, Math.ceil(Math.max(x1, x2) + edge)), Math.min(mask.height, Math.ceil(Math.max(y1, y2) + edge)));
  }

  #dab(x, y, radius) {
    const { values, width, height } = this.mask;
    for (let row = within(Math.floor(y - radius), 0, height - 1); row <= within(Math.ceil(y + radius), 0, height - 1); row += 1) {
      const half = Math.sqrt(Math.max(0, radius ** 2 - (row + 0.5 - y) ** 2));
      const [from, to] = [Math.max(0, Math.round(x - half)), Math.min(width, Math.round(x + half))];
      if (to > from) values.fill(this.pen, row * width + from, row * width + to);
    }
  }

  #undo() {
    const values = this.past.pop();
    if (!values) return;
    this.mask.values.set(values);
    this.mask.draw();
    this.#tell();
  }

  #tell() { part("brush-undo").disabled = !this.past.length; }

  /** Grey, the value of the class in each pixel; of one class white. */
  #png() {
    const { values, width, height } = this.mask;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const image = new ImageData(width, height);
    const scale = data.classes.length === 1 ? 255 : 1;
    for (let at = 0; at < values.length; at += 1) image.data.set([values[at] * scale, values[at] * scale, values[at] * scale, 255], 4 * at);
    canvas.getContext("2d").putImageData(image, 0, 0);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }
}
