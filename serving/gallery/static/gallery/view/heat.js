// The heat map, once it is made: its button lays it over the picture, or takes it away.
import { part, root } from "./page.js";

export function wireHeat() {
  const image = part("heat");
  const show = (button) => {
    const on = button.getAttribute("aria-pressed") !== "true";
    if (image.getAttribute("src") !== button.dataset.heatToggle) image.src = button.dataset.heatToggle;
    image.hidden = !on;
    button.setAttribute("aria-pressed", String(on));
    root.classList.toggle("view-heat-on", on);
    const split = part("split");
    if (split && root.dataset.view === "classes") split.hidden = !on;
  };
  if (!image) return;
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-heat-toggle]");
    if (button) show(button);
  });
  // One that was just made is shown at once.
  new MutationObserver(() => {
    const made = part("heat-new");
    if (!made) return;
    delete made.dataset.heatNew;
    show(made);
    made.focus();
  }).observe(root, { childList: true, subtree: true });
}
