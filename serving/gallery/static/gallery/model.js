// The page of a model: files in, results beside them, and its tabs.
import { show, wire } from "./beside.js";
import { copyButtons } from "./small.js";
import { start } from "./upload.js";

copyButtons();
wire();
const box = document.querySelector("#upload");
if (box) start(box, show);

// A key that is pasted goes into the snippets; it is never sent.
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-paste-key]")) return;
  for (const place of document.querySelectorAll("[data-key]")) place.textContent = event.target.value.trim() || "vl_...";
});

// The address names the tab, so that reload and link keep it.
document.addEventListener("shown.bs.tab", (event) => {
  const tab = event.target.id.replace(/^to-/, "");
  const asked = new URLSearchParams(location.search);
  if (tab === "try") asked.delete("tab");
  else asked.set("tab", tab);
  history.replaceState(null, "", asked.size ? `?${asked}` : location.pathname);
});
