// "Was this right?": yes, or a correction: another class, other boxes, or another mask. It becomes the prediction's label.
import { data, gone, part, text } from "./page.js";
import { send } from "./send.js";

/** @param shown what the viewer of this kind gave back: `Findings`, NiiVue's viewer, or nothing. */
export function wireVerdict(shown) {
  const section = part("verdict");
  const { action, labels } = section.dataset;
  const say = (words, bad = false) => {
    part("verdict-status").textContent = words;
    part("verdict-status").classList.toggle("text-danger", bad);
  };
  const give = async (body) => {
    say(text("sending"));
    const answer = await send(action, body);
    say(answer.error ?? text("thanks"), Boolean(answer.error));
    if (!answer.error) part("given")?.remove();
    return !answer.error;
  };
  const correcting = (on) => {
    part("ask").hidden = on;
    part("correcting").hidden = !on;
    if (on) say("");
  };

  part("right").addEventListener("click", async () => give(labels === "boxes" ? (await import("./boxes.js")).yolo(shown.above(), data.width, data.height) : null));
  if (labels === "class") return wireClass(give);
  part("wrong").addEventListener("click", async () => {
    correcting(true);
    const tool = labels === "boxes" ? (await import("./editor.js")).openEditor(shown) : labels === "mask" && data.kind === "mask" ? (await import("./paint.js")).openPaint(shown) : (await import("./brush.js")).openBrush(shown);
    const close = () => {
      gone.removeEventListener("abort", close);
      part("send").onclick = part("stop").onclick = null;
      tool.close();
      correcting(false);
      part("wrong").focus();
    };
    part("send").onclick = async () => {
      const body = await tool.label();
      if (body != null && (await give(body))) {
        tool.sent();
        close();
      }
    };
    part("stop").onclick = close;
    gone.addEventListener("abort", close);
  });
  if (new URLSearchParams(location.search).has("correct")) part("wrong").click(); // a moment of a video came here for that
}

function wireClass(give) {
  const form = part("classes");
  part("wrong").addEventListener("click", () => {
    form.hidden = false;
    form.elements.label.focus();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await give(form.elements.label.value)) form.hidden = true;
  });
}
