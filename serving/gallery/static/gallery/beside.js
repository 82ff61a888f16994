// A run beside the upload, on the page of its model: its state while it lasts, then its result. The address of the page
// names it, so that a reload shows it again.
import { localTimes, speakState } from "./small.js";

let start = null; // of the viewers, loaded with the first result
const box = document.querySelector("#result");
const title = document.title;

/** Shows a run by its id. */
export async function show(id) {
  const here = new URL(location.href);
  here.search = new URLSearchParams({ run: id });
  history.replaceState(null, "", here);
  for (const link of document.querySelectorAll("#files [data-beside]")) link.hidden = link.dataset.beside === id;
  const answer = await fetch(`/runs/${id}/beside`);
  if (!answer.ok) return;
  box.innerHTML = await answer.text();
  globalThis.htmx.process(box);
  if (box.getBoundingClientRect().top > 0.8 * innerHeight) box.scrollIntoView(); // on a phone it stands below
}

/** Follows links with data-beside, and shows the run that the address names. */
export function wire() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-beside]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    document.querySelector("#to-try").click();
    show(link.dataset.beside).then(() => box.querySelector("[data-heading]")?.focus());
  });
  new MutationObserver(changed).observe(box, { childList: true, subtree: true });
  const named = new URLSearchParams(location.search).get("run");
  if (/^[0-9a-f]{32}$/.test(named ?? "")) show(named);
}

async function changed() {
  const run = box.querySelector("[data-run]");
  const over = run && ["done", "failed", "cancelled"].includes(run.dataset.state);
  document.title = (over ? run.dataset.title : box.querySelector("#status")?.dataset.title) ?? title;
  speakState();
  const view = box.querySelector("[data-view]");
  box.parentElement.classList.toggle("has-result", Boolean(view));
  if (!view || "started" in view.dataset) return;
  view.dataset.started = "";
  localTimes(box);
  start ??= (await import("./view/main.js")).start;
  await start(view);
}
