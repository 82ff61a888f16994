// The mask of a picture over it: each class in its colour, to switch; filled or outlined.
import { swatch } from "./panel.js";
import { data, make, named, part, percent, text } from "./page.js";

/** Values of the mask's pixels, 0 or the value of a class, and the canvas that shows them. */
export class Mask {
  constructor(values, width, height, canvas) {
    Object.assign(this, { values, width, height, off: new Set(), outlined: false });
    Object.assign(canvas, { width, height });
    this.context = canvas.getContext("2d");
    this.colours = new Map(data.classes.map((one) => [one.value, rgb(one.colour)]));
    this.draw();
  }

  /** Draws all of it, or a rectangle of it. */
  draw(left = 0, top = 0, right = this.width, bottom = this.height) {
    const [wide, tall] = [right - left, bottom - top];
    if (wide <= 0 || tall <= 0) return;
    const image = new ImageData(wide, tall);
    for (let y = 0; y < tall; y += 1) {
      for (let x = 0; x < wide; x += 1) {
        const value = this.values[(top + y) * this.width + left + x];
        if (!value || this.off.has(value) || (this.outlined && this.#inside(left + x, top + y, value))) continue;
        image.data.set(this.colours.get(value), 4 * (y * wide + x));
      }
    }
    this.context.putImageData(image, left, top);
  }

  #inside(x, y, value) {
    const line = Math.max(1, Math.round(Math.max(this.width, this.height) / 500));
    return [[-line, 0], [line, 0], [0, -line], [0, line]].every(([dx, dy]) => x + dx >= 0 && x + dx < this.width && y + dy >= 0 && y + dy < this.height && this.values[(y + dy) * this.width + x + dx] === value);
  }
}

export async function wireMask() {
  const image = new Image();
  image.src = data.mask;
  await image.decode();
  const mask = new Mask(valuesOf(image), image.naturalWidth, image.naturalHeight, part("mask"));
  part("outline").addEventListener("change", (event) => {
    mask.outlined = event.target.checked;
    mask.draw();
  });
  const found = data.classes.filter((one) => one.share > 0).toSorted((a, b) => b.share - a.share);
  part("status").textContent = found.length ? found.map((one) => `${named(one.class)} ${percent(one.share, 1)}`).join(", ") : text("nothing");
  part("legend").replaceChildren(...found.map((one) => switchOf(one, mask)));
  return mask;
}

function switchOf(one, mask) {
  const button = make("button", { type: "button", className: "view-class" }, swatch(one.colour), ` ${named(one.class)} `, make("span", { className: "view-count" }, percent(one.share, 1)));
  button.setAttribute("aria-pressed", "true");
  button.addEventListener("click", () => {
    if (!mask.off.delete(one.value)) mask.off.add(one.value);
    button.setAttribute("aria-pressed", String(!mask.off.has(one.value)));
    mask.draw();
  });
  return button;
}

/** The file's palette has the colours of the classes; of one class it is white. */
function valuesOf(image) {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  const number = (colour) => new Uint32Array(new Uint8ClampedArray(colour).buffer)[0];
  const known = new Map(data.classes.map((one) => [number(rgb(one.colour)), one.value]));
  if (data.classes.length === 1) known.set(number([255, 255, 255, 255]), data.classes[0].value);
  return Uint8Array.from(pixels, (pixel) => known.get(pixel) ?? 0);
}

const rgb = (colour) => [...[1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)), 255];
