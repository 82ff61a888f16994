// The picture with layers over it: the before/after slider, how strong the layers are, and hiding them while H is held.
import { gone, part, root, typing } from "./page.js";

/** Calls `draw` with the size of the stage in CSS pixels now and whenever it changes. */
export function onResize(element, draw) {
  new ResizeObserver(() => draw(element.clientWidth, element.clientHeight)).observe(element);
}

/** Wires the controls of the stage. All of them are optional in the page. */
export function wireStage() {
  const layers = part("layers");
  const split = part("split");
  if (split) {
    const show = () => { layers.style.clipPath = `inset(0 0 0 ${split.value}%)`; };
    split.addEventListener("input", show);
    show();
  }
  const opacity = part("opacity");
  if (opacity) {
    const show = () => { layers.style.opacity = opacity.value / 100; };
    opacity.addEventListener("input", show);
    show();
  }
  wireHiding((hidden) => layers.classList.toggle("view-hidden", hidden));
}

/** Calls `hide(true)` while the key H or the button is held, then `hide(false)`. */
export function wireHiding(hide) {
  const button = part("hide");
  const set = (hidden) => {
    hide(hidden);
    root.classList.toggle("view-hiding", hidden);
  };
  const until = { capture: true, signal: gone };
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "h" || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    event.stopPropagation(); // NiiVue moves its cross with the same key
    set(true);
  }, until);
  document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "h") set(false); }, until);
  addEventListener("blur", () => set(false), { signal: gone });
  if (!button) return;
  button.addEventListener("pointerdown", () => set(true));
  for (const name of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(name, () => set(false));
  button.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") set(true); });
  button.addEventListener("keyup", () => set(false));
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}
