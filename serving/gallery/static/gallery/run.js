// The page of a run, and the history: its viewer, buttons that ask first, and the title that follows the state.
import { copyButtons, localTimes, speakState } from "./small.js";

copyButtons();
localTimes(document);

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

const titled = () => {
  const status = document.querySelector("#status[data-title]");
  if (status && document.title !== status.dataset.title) document.title = status.dataset.title;
  speakState();
};
if (document.querySelector("#status[hx-get]")) {
  titled();
  new MutationObserver(titled).observe(document.querySelector("#content"), { childList: true, subtree: true });
}

const view = document.querySelector("[data-view]");
if (view) await (await import("./view/main.js")).start(view);
