// A scan with its mask in NiiVue: slices, three views at once, 3-D. Loaded only on pages of scans, and only with WebGL.
import { data, gone, part, root, text } from "./page.js";
import { wireHiding } from "./stage.js";

const MASK = 1; // NiiVue's number of the second volume

export function hasWebGL() {
  const asked = new URLSearchParams(location.search).get("viewer");
  if (asked) return asked !== "slices";
  const context = document.createElement("canvas").getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return context != null;
}

function load(address) {
  return new Promise((done, fail) => {
    const script = document.createElement("script");
    Object.assign(script, { src: address, onload: done, onerror: () => fail(new Error(address)) });
    document.head.append(script);
  });
}

/** Opens scan and mask. Resolves to NiiVue's viewer. */
export async function wireScan() {
  const canvas = part("scan");
  await load(data.niivue);
  const { Niivue } = globalThis.niivue;
  const viewer = new Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [0.37, 0.92, 0.83, 0.6],
    crosshairWidth: 0.3,
    crosshairWidthUnit: "percent",
    isRadiologicalConvention: true, // as the pictures of the service: the patient's right on the left
    isNearestInterpolation: true, // a voxel is a voxel, so that the mask's edge is where it is
    dragAndDropEnabled: false,
    logLevel: "error",
    fontMinPx: 18,
    fontColor: [1, 0.95, 0.6, 1],
    multiplanarPadPixels: 20, // else the letters of two views stand on each other
    showAllOrientationMarkers: true,
  });
  await viewer.attachToCanvas(canvas);
  viewer.addColormap("mask", { R: [255, 255], G: [170, 170], B: [60, 60], A: [0, 255], I: [0, 255] });
  await viewer.loadVolumes([
    { url: data.scan, name: "scan.nii.gz", colormap: "gray" },
    { url: data.mask, name: "mask.nii.gz", colormap: "mask", cal_min: 0.5, cal_max: 1, opacity: 0.5 },
  ]);
  wireControls(viewer);
  gone.addEventListener("abort", () => canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext());
  return viewer;
}

function wireControls(viewer) {
  wireViews(viewer);
  wireMaskControls(viewer);
  wireWindow(viewer);
  wireSliceSlider(viewer);
}

function wireViews(viewer) {
  const views = { axial: viewer.sliceTypeAxial, coronal: viewer.sliceTypeCoronal, sagittal: viewer.sliceTypeSagittal, all: viewer.sliceTypeMultiplanar, render: viewer.sliceTypeRender };
  const buttons = [...part("views").children];
  const show = (name) => {
    viewer.setSliceType(views[name]);
    root.dataset.scanView = name;
    part("hanging").hidden = name === "sagittal" || name === "render";
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.viewName === name));
    part("slice-number").dispatchEvent(new Event("turn"));
  };
  for (const button of buttons) button.addEventListener("click", () => show(button.dataset.viewName));
  show(data.flat ? "axial" : "all");
}

function wireMaskControls(viewer) {
  const opacity = part("opacity");
  const fade = (hidden) => viewer.setOpacity(MASK, hidden === true ? 0 : opacity.value / 100);
  opacity.addEventListener("input", fade);
  const outline = part("outline");
  const mask = viewer.volumes[MASK];
  const whole = mask.img;
  outline.addEventListener("change", () => {
    mask.img = outline.checked ? edge(whole, mask.hdr.dims, data.slice.axis) : whole;
    viewer.updateGLVolume();
  });
  wireHiding(fade);
  fade();
}

function wireWindow(viewer) {
  const scan = viewer.volumes[0];
  const [low, high] = [part("window-low"), part("window-high")];
  const [least, most] = [scan.global_min, scan.global_max];
  const value = (slider) => least + (slider.value / 100) * (most - least);
  const place = (slider, level) => { slider.value = most > least ? (100 * (level - least)) / (most - least) : 0; };
  place(low, scan.cal_min);
  place(high, scan.cal_max);
  const show = () => {
    scan.cal_min = Math.min(value(low), value(high) - (most - least) / 200);
    scan.cal_max = value(high);
    viewer.updateGLVolume();
  };
  low.addEventListener("input", show);
  high.addEventListener("input", show);
}

/** The slider moves the cross across the slices of the view that is shown: the wheel does the same with a mouse. */
function wireSliceSlider(viewer) {
  const slider = part("slice-number");
  const axis = () => ({ sagittal: 0, coronal: 1, render: null }[root.dataset.scanView] ?? (root.dataset.scanView === "render" ? null : 2));
  const say = () => {
    const words = text("slice", { number: Number(slider.value) + 1, all: Number(slider.max) + 1 });
    part("slice-value").textContent = words;
    slider.setAttribute("aria-valuetext", words);
  };
  const here = () => Math.min(Number(slider.max), Math.floor(viewer.scene.crosshairPos[axis()] * (Number(slider.max) + 1)));
  const turn = () => {
    slider.disabled = axis() == null;
    if (slider.disabled) return;
    slider.max = viewer.volumes[0].dimsRAS[axis() + 1] - 1;
    part("slice-control").hidden = slider.max === "0";
    slider.value = here();
    say();
  };
  slider.addEventListener("turn", turn);
  slider.addEventListener("input", () => {
    viewer.scene.crosshairPos[axis()] = (Number(slider.value) + 0.5) / (Number(slider.max) + 1);
    viewer.drawScene();
    say();
  });
  viewer.onLocationChange = () => {
    if (slider.disabled || document.activeElement === slider) return;
    slider.value = here();
    say();
  };
  // The slice with most of the mask is what the answer is about.
  viewer.scene.crosshairPos = cross(viewer.volumes[0]);
  viewer.drawScene();
  turn();
}

/** Where the slice with most of the mask is, in shares of the scan from left, back and below. */
function cross(scan) {
  return [0, 1, 2].map((side) => {
    const turned = scan.permRAS[side]; // the file's axis that runs along this side, from 1; negative: the other way
    const axis = Math.abs(turned) - 1;
    if (axis !== data.slice.axis) return 0.5;
    const share = (data.slice.first + 0.5) / scan.hdr.dims[axis + 1];
    return turned > 0 ? share : 1 - share;
  });
}

/** Of a mask its voxels that have a neighbour outside it, in the slices across `axis`. */
function edge(img, dims, axis) {
  const steps = [1, dims[1], dims[1] * dims[2]];
  const sides = [0, 1, 2].filter((one) => one !== axis);
  const found = new img.constructor(img.length);
  for (let at = 0; at < img.length; at += 1) {
    if (!img[at]) continue;
    const inside = sides.every((side) => {
      const place = Math.floor(at / steps[side]) % dims[side + 1];
      return place > 0 && place < dims[side + 1] - 1 && img[at - steps[side]] && img[at + steps[side]];
    });
    if (!inside) found[at] = img[at];
  }
  return found;
}
