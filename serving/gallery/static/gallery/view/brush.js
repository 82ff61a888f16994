// Correcting the mask of a scan with NiiVue's own brush. What is sent is a NIfTI mask on the scan's grid.
import { part, root } from "./page.js";

const MASK = 1;

/** @param viewer NiiVue's, or undefined without WebGL: then a mask from elsewhere can be given. */
export function openBrush(viewer) {
  const tools = part("brush-tools");
  const file = part("brush-file");
  const ended = new AbortController();
  let changed = false;
  const leaving = (event) => { if (changed) event.preventDefault(); };
  addEventListener("beforeunload", leaving, { signal: ended.signal });
  part("brush").hidden = false;
  tools.hidden = !viewer;
  root.classList.add("view-editing");
  if (viewer) startDrawing(viewer, ended.signal, () => { changed = true; });

  return {
    async label() {
      if (file.files.length) return file.files[0];
      if (!viewer) {
        file.focus();
        return null;
      }
      return drawing(viewer);
    },
    sent() { changed = false; },
    close() {
      ended.abort();
      file.value = "";
      part("brush").hidden = true;
      root.classList.remove("view-editing");
      if (viewer) stopDrawing(viewer);
    },
  };
}

function startDrawing(viewer, signal, onChange) {
  const mask = viewer.volumes[MASK];
  viewer.loadDrawing(mask);
  viewer.setOpacity(MASK, 0); // the drawing stands for it
  viewer.drawOpacity = part("opacity").value / 100;
  viewer.onDrawingChanged = onChange;
  const buttons = [...part("brush-tools").querySelectorAll("[data-pen]")];
  const take = (pen) => {
    viewer.setDrawingEnabled(pen !== "");
    if (pen !== "") viewer.setPenValue(Number(pen), false);
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.pen === pen));
  };
  for (const button of buttons) button.addEventListener("click", () => take(button.dataset.pen), { signal });
  const size = part("brush-size");
  const resize = () => { viewer.opts.penSize = Number(size.value); };
  size.addEventListener("input", resize, { signal });
  resize();
  part("brush-undo").addEventListener("click", () => viewer.drawUndo(), { signal });
  part("opacity").addEventListener("input", () => {
    viewer.setOpacity(MASK, 0);
    viewer.drawOpacity = part("opacity").value / 100;
    viewer.drawScene();
  }, { signal });
  take("1");
}

function stopDrawing(viewer) {
  viewer.setDrawingEnabled(false);
  viewer.closeDrawing();
  viewer.setOpacity(MASK, part("opacity").value / 100);
  viewer.drawScene();
}

/** The drawing as gzipped NIfTI, values 0 and 1. */
async function drawing(viewer) {
  const nifti = await viewer.saveImage({ filename: "", isSaveDrawing: true });
  const zipped = new Blob([plain(nifti)]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Response(zipped).blob();
}

/** The scan's own slope and intercept are not the mask's: without them a 1 stays a 1. */
function plain(nifti) {
  const header = new DataView(nifti.buffer, nifti.byteOffset, 348);
  const little = header.getInt32(0, true) === 348;
  header.setFloat32(112, 1, little);
  header.setFloat32(116, 0, little);
  return nifti;
}
