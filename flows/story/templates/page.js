"use strict";
const page = document.getElementById("page");
let ahead = 0; // how far the server's clock is ahead of this one, in seconds

function words(seconds) {
  const s = Math.max(0, Math.round(seconds));
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
}

function tick() {
  for (const clock of document.querySelectorAll("[data-since]"))
    clock.textContent = words(Date.now() / 1000 + ahead - Number(clock.dataset.since));
}

// Only what changed is touched: nothing flickers, pictures stay, a selection survives.
function show(state) {
  ahead = state.now - Date.now() / 1000;
  document.title = state.title;
  let before = page.firstElementChild;
  for (const [id, [hash, html]] of Object.entries(state.sections)) {
    let section = document.getElementById(id);
    if (!section) {
      section = document.createElement("section");
      section.id = id;
    }
    if (section !== before) page.insertBefore(section, before);
    else before = before.nextElementSibling;
    if (section.dataset.hash !== hash) {
      section.innerHTML = html;
      section.dataset.hash = hash;
    }
  }
  while (before) {
    const gone = before;
    before = before.nextElementSibling;
    gone.remove();
  }
  for (const bar of document.querySelectorAll("[data-bar]")) {
    const now = state.bars[bar.dataset.bar];
    if (!now) continue;
    bar.querySelector(".fill").style.width = `${100 * now.share}%`;
    bar.querySelector("p").textContent = now.text;
  }
  tick();
}

async function follow() {
  try {
    const answer = await fetch("/story.json", { cache: "no-store" });
    show(await answer.json());
    document.body.classList.remove("lost");
  } catch {
    document.body.classList.add("lost");
  }
  setTimeout(follow, document.hidden ? 5000 : 1000);
}
follow();
setInterval(tick, 1000);
