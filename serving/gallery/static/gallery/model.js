// The page of a model: files in, and its tabs.
import { copyButtons } from "./small.js";
import { start } from "./upload.js";

copyButtons(document);
const box = document.querySelector("#upload");
if (box) start(box);

// The address names the tab, so that reload and link keep it.
document.addEventListener("shown.bs.tab", (event) => {
  const tab = event.target.id.replace(/^to-/, "");
  history.replaceState(null, "", tab === "try" ? location.pathname : `?tab=${tab}`);
});
