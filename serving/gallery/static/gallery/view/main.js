// Starts what the result page needs, by the kind of the answer.
import { data, part, root } from "./page.js";
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
  async video() { (await import("./video.js")).wireTimeline(); },
  async scan() {
    const { hasWebGL, wireScan } = await import("./scan.js");
    const drawn = hasWebGL();
    part("with-webgl").hidden = !drawn;
    part("without-webgl").hidden = drawn;
    part("again").hidden = !location.search;
    if (drawn) return wireScan();
    return (await import("./slices.js")).wireSlices();
  },
};

const shown = await kinds[data.kind]();
(await import("./heat.js")).wireHeat();
if (part("verdict")) (await import("./verdict.js")).wireVerdict(shown);
root.dataset.ready = "true";
