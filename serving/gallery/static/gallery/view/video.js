// A timeline of what was found in a video, a row for each class; each span leads to its place in the video.
import { swatch } from "./panel.js";
import { data, make, named, part, text } from "./page.js";

export function wireTimeline() {
  const video = part("video");
  const line = part("timeline");
  const rows = spans(data.tracks, data.seconds);
  line.replaceChildren(...rows.map((row) => drawnRow(row, video)));
  part("status").textContent = rows.length
    ? text("objects", { objects: data.tracks_total, classes: rows.length })
    : text("nothing");
  line.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const all = [...line.querySelectorAll(".view-span")];
    const next = all[all.indexOf(event.target) + step];
    if (!step || !next) return;
    event.preventDefault();
    next.focus();
  });
  const follow = () => {
    const share = Math.min(1, video.currentTime / data.seconds);
    for (const cursor of line.querySelectorAll(".view-cursor")) cursor.style.left = `${100 * share}%`;
    for (const one of line.querySelectorAll(".view-span")) one.classList.toggle("lit", one.dataset.from <= video.currentTime && video.currentTime < one.dataset.to);
  };
  video.addEventListener("timeupdate", follow);
  video.addEventListener("seeked", follow);
}

/** Tracks of one class that overlap become one span: [{name, colour, spans: [{from, to, objects}]}], most first. */
export function spans(tracks, seconds) {
  const rows = new Map();
  for (const track of tracks.toSorted((a, b) => a.first_s - b.first_s)) {
    const row = rows.get(track.class) ?? { name: track.class, colour: track.colour, objects: 0, spans: [] };
    rows.set(track.class, row);
    row.objects += 1;
    const last = row.spans.at(-1);
    // Apart by less than a hundredth of the video, two spans could not be told apart, nor hit with a finger.
    if (last && track.first_s <= last.to + seconds / 100) {
      last.to = Math.max(last.to, track.last_s);
      last.objects += 1;
    } else {
      row.spans.push({ from: track.first_s, to: track.last_s, objects: 1 });
    }
  }
  return [...rows.values()].sort((a, b) => b.objects - a.objects);
}

export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function drawnRow(row, video) {
  const rail = make("div", { className: "view-rail" }, ...row.spans.map((span) => drawnSpan(row, span, video)));
  rail.append(make("span", { className: "view-cursor" }));
  const name = make("div", { className: "view-row-name" }, swatch(row.colour), ` ${named(row.name)} `, make("span", { className: "view-count" }, String(row.objects)));
  return make("div", { className: "view-row" }, name, rail);
}

function drawnSpan(row, span, video) {
  const button = make("button", { type: "button", className: "view-span", data: { from: span.from, to: span.to } });
  button.style.left = `${(100 * span.from) / data.seconds}%`;
  button.style.width = `${(100 * (span.to - span.from)) / data.seconds}%`;
  button.style.background = row.colour;
  const words = text("span", { name: named(row.name), objects: span.objects, from: clock(span.from), to: clock(span.to) });
  button.title = words;
  button.setAttribute("aria-label", words);
  button.addEventListener("click", () => { video.currentTime = span.from; });
  return button;
}
