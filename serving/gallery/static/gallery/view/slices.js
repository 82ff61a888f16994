// A scan as pictures of its slices, which the server draws: for browsers without WebGL.
import { data, make, part, text } from "./page.js";
import { wireHiding } from "./stage.js";

export async function wireSlices() {
  const about = await (await fetch(data.slices)).json();
  const [scan, mask] = [part("slice"), part("slice-mask")];
  const [place, low, high] = [part("slice-number"), part("window-low"), part("window-high")];
  [low.value, high.value] = [about.low, about.high];
  let axis = about.axes.find((one) => one.axis === data.slice.axis) ?? about.axes[0];
  let timer = 0;
  const buttons = about.axes.map((one) => {
    const button = make("button", { type: "button", className: "btn btn-sm btn-outline-secondary", data: { axis: one.axis } }, text(one.name));
    button.addEventListener("click", () => turn(one));
    return button;
  });
  part("axes").replaceChildren(...buttons);

  const load = () => {
    const address = `${data.slices}${axis.axis}/${place.value}.png`;
    const window = new URLSearchParams({ low: low.value, high: high.value });
    scan.src = `${address}?${window}`;
    mask.src = `${address}?mask=1${part("outline").checked ? "&outline=1" : ""}`;
    const words = text("slice", { number: Number(place.value) + 1, all: axis.slices });
    scan.alt = `${text(axis.name)}, ${words}`;
    part("slice-value").textContent = words;
    place.setAttribute("aria-valuetext", words);
  };
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(load, 60);
  };
  const turn = (chosen) => {
    axis = chosen;
    Object.assign(place, { min: 0, max: axis.slices - 1, value: axis.first });
    part("slice-control").hidden = axis.slices === 1;
    part("hanging").hidden = axis.name === "sagittal";
    for (const side of ["top", "right", "bottom", "left"]) part(`mark-${side}`).textContent = axis[side];
    for (const button of buttons) button.setAttribute("aria-pressed", String(Number(button.dataset.axis) === axis.axis));
    load();
  };
  for (const control of [place, low, high]) control.addEventListener("input", soon);
  part("outline").addEventListener("change", load);
  part("slice-box").addEventListener("wheel", (event) => {
    event.preventDefault();
    place.value = Number(place.value) + Math.sign(event.deltaY);
    soon();
  }, { passive: false });
  const opacity = part("opacity");
  const fade = (hidden) => { mask.style.opacity = hidden === true ? 0 : opacity.value / 100; };
  opacity.addEventListener("input", fade);
  wireHiding(fade);
  fade();
  turn(axis);
}
