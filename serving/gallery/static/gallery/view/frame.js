// A moment of a video as a picture of its own, to correct there: labels are of pictures.
import { base64 } from "../small.js";
import { clock } from "./video.js";
import { part, text } from "./page.js";

const WITHIN = 20000; // milliseconds for the browser to find the moment
const START = 65536;

export function wireFrame() {
  const { source, model, name } = part("frame").dataset;
  const button = part("frame-take");
  const say = (words, bad = false) => {
    part("frame-status").textContent = words;
    part("frame-status").classList.toggle("text-danger", bad);
  };
  button.addEventListener("click", async () => {
    const video = part("video");
    video.pause();
    button.disabled = true;
    say(text("sending"));
    try {
      const picture = await momentOf(source, video.currentTime);
      const called = `${name.replace(/\.[^.]*$/, "")} ${clock(video.currentTime).replace(":", "-")}.jpg`;
      location.assign(`${await sent(picture, model, called)}?correct`);
    } catch (error) {
      say(error.message, true);
      button.disabled = false;
    }
  });
}

/** The picture that the video has at a time, without boxes: from the file that was sent, as a JPEG. */
async function momentOf(source, seconds) {
  const video = Object.assign(document.createElement("video"), { muted: true, preload: "auto", src: source });
  const happened = (name) => new Promise((done, fail) => {
    video.addEventListener(name, done, { once: true });
    video.addEventListener("error", () => fail(new Error(text("no-moment"))), { once: true });
    setTimeout(() => fail(new Error(text("no-moment"))), WITHIN);
  });
  await happened("loadeddata");
  if (seconds > 0) {
    const found = happened("seeked");
    video.currentTime = Math.min(seconds, video.duration);
    await found;
  }
  const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
  if (!canvas.width) throw new Error(text("no-moment"));
  canvas.getContext("2d").drawImage(video, 0, 0);
  video.removeAttribute("src");
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
}

/** Sends a picture to a model; returns the address of its result. */
async function sent(picture, model, name) {
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  const ask = async (address, method, body, type, more = {}) => {
    const headers = { "X-CSRFToken": token, "Content-Type": type, "Accept-Language": document.documentElement.lang, ...more };
    const answer = await fetch(address, { method, body, headers }).catch(() => { throw new Error(text("failed")); });
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(found.found ?? text("failed"));
    return found;
  };
  const start = await base64(picture.slice(0, START));
  const run = await ask("/uploads", "POST", JSON.stringify({ model, name, size: picture.size, start }), "application/json");
  await ask(run.address, "PUT", picture, "application/octet-stream", { "Upload-Offset": String(run.offset) });
  return run.result;
}
