// Starts what a result needs, by the kind of the answer.
import { data, gone, part, root, turnTo } from "./page.js";
import { wireStage } from "./stage.js";

const kinds = {
  async boxes() {
    const [{ Findings }, { wireOverlay }, { wirePanel }] = await Promise.all([import("./findings.js"), import("./overlay.js"), import("./panel.js")]);
    const findings = new Findings(data.items, data.threshold ?? data.floor);
    wireStage();
    wireOverlay(findings);
    wirePanel(findings);
    return findings;
  },
  async classes() { wireStage(); },
  async plain() {},
  async video() {
    (await import("./video.js")).wireTimeline();
    if (part("frame")) (await import("./frame.js")).wireFrame();
  },
  async mask() {
    wireStage();
    return (await import("./mask.js")).wireMask();
  },
  async scan() {
    const { hasWebGL, wireScan } = await import("./scan.js");
    const drawn = hasWebGL();
    part("with-webgl").hidden = !drawn;
    part("without-webgl").hidden = drawn;
    part("again").hidden = !new URLSearchParams(location.search).has("viewer");
    if (drawn) return wireScan();
    return (await import("./slices.js")).wireSlices();
  },
};

/** Starts the viewer of the result in the element [data-view]; of one that was shown before, nothing goes on. */
export async function start(view) {
  turnTo(view);
  const here = gone;
  const shown = await kinds[data.kind]();
  (await import("./heat.js")).wireHeat();
  if (here.aborted) return;
  if (part("verdict")) (await import("./verdict.js")).wireVerdict(shown);
  root.dataset.ready = "true";
}
