// Files in: dropped, chosen, pasted or from the camera. Each is checked, sent with progress, and goes on after an
// interruption at the byte that the server has. The result of one is shown beside; of several there is a link to each.
import { base64, size } from "./small.js";

const START = 65536; // first bytes, by which the server knows what a file is before all of it is sent
const AT_ONCE = 2;
const PATIENCE = 10 * 60 * 1000; // how long to try again by itself, milliseconds
const LOOK = 1500;

/** Makes `box`, the element #upload of a model's page, take files. `show` shows a run by its id. */
export function start(box, show) {
  const list = box.querySelector("#files");
  const words = box.querySelector("#words").dataset;
  const queue = [];
  let busy = 0;
  let several = false;

  const next = () => {
    while (busy < AT_ONCE && queue.length) {
      const one = queue.shift();
      busy += 1;
      one.send().finally(() => { busy -= 1; next(); });
    }
    if (!busy && several) document.title = `✓ ${title}`;
  };
  const consent = box.querySelector("#consent");
  let kept = []; // files that wait for the consent
  const ask = (asks) => {
    consent.closest(".vl-consent").classList.toggle("missing", asks);
    box.querySelector("#consent-first").hidden = !asks;
  };
  consent?.addEventListener("change", () => {
    if (!consent.checked) return;
    ask(false);
    take(kept.splice(0));
  });
  const take = (files) => {
    if (!files.length) return;
    if (consent && !consent.checked && !box.dataset.consented) {
      kept.push(...files);
      ask(true);
      consent.focus();
      return;
    }
    several = files.length > 1;
    const shown = files.length === 1 && !busy ? show : null;
    for (const file of files) {
      const upload = new Upload(file, box, words, shown, (again) => { queue.push(again); next(); });
      list.append(upload.row);
      if (upload.check()) queue.push(upload);
    }
    next();
  };
  for (const input of box.querySelectorAll("input[type=file]")) {
    input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
  }
  const drop = box.querySelector("#drop");
  document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take([...event.clipboardData.files]);
  });
  addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });
}

let sending = 0; // files whose bytes are not all at the server
const title = document.title;

class Upload {
  constructor(file, box, words, shown, again) {
    Object.assign(this, { file, box, words, shown });
    this.row = box.querySelector("#file-row").content.firstElementChild.cloneNode(true);
    this.bar = this.row.querySelector("progress");
    this.part("name").textContent = file.name;
    this.part("size").textContent = size(file.size);
    this.part("cancel").addEventListener("click", () => this.cancel());
    this.part("retry").addEventListener("click", () => { this.show(words.waiting); again(this); });
  }

  part(name) { return this.row.querySelector(`[data-${name}]`); }

  show(text, bad = false) {
    this.part("state").textContent = text;
    this.row.classList.toggle("bad", bad);
    this.part("retry").hidden = !bad;
    this.bar.hidden = bad;
    if (bad) this.box.querySelector("#spoken").textContent = `${this.file.name}: ${text}`;
  }

  /** What the browser can tell by itself. */
  check() {
    const name = this.file.name.toLowerCase();
    const fits = this.box.dataset.endings.split(",").some((ending) => name.endsWith(ending));
    const fault = this.file.size === 0 ? this.words.empty
      : this.file.size > Number(this.box.dataset.most) ? this.words.big
        : name.includes(".") && !fits ? `${this.words.ending} (${this.box.dataset.endings.replaceAll(",", " ")})` : "";
    if (fault) { this.show(fault, true); this.part("retry").hidden = true; this.part("cancel").hidden = true; }
    return !fault;
  }

  async send() {
    if (this.cancelled) return;
    this.show(this.words.uploading);
    let known;
    sending += 1;
    try {
      known = await this.ask("/uploads", "POST", {
        model: this.box.dataset.model, name: this.file.name, size: this.file.size,
        start: await base64(this.file.slice(0, START)), consent: !this.box.dataset.consented || undefined,
        heatmap: this.box.querySelector("#heatmap").checked || undefined,
      });
      this.box.dataset.consented = "yes";
      this.box.querySelector(".vl-consent")?.remove();
      this.id = known.id;
      await this.bytes(known);
    } catch (error) {
      if (!this.cancelled) this.show(error.message, true);
      return;
    } finally {
      sending -= 1;
    }
    if (!this.cancelled) await this.finished(known);
  }

  /** Sends the bytes from the server's offset on; after an interruption again, until the patience is over. */
  async bytes(known) {
    let offset = known.offset;
    let lost = 0;
    for (let pause = 500; !this.cancelled; pause = Math.min(2 * pause, 8000)) {
      const before = offset;
      const sent = offset < this.file.size || known.state === "uploading" ? await this.put(offset) : "sent";
      if (this.cancelled || sent === "sent") return;
      lost ||= Date.now();
      await sleep(pause);
      try {
        known = await this.ask(`/uploads/${this.id}`, "GET");
      } catch (error) {
        if (error.fatal) throw error;
        if (Date.now() - lost > PATIENCE) throw new Error(this.words.gaveUp);
        continue;
      }
      if (known.state === "failed") throw told(known.error, this.words);
      if (known.state !== "uploading") return;
      offset = known.offset;
      if (offset > before) { lost = 0; pause = 500; }
    }
  }

  put(offset) {
    return new Promise((done) => {
      const request = this.request = new XMLHttpRequest();
      const began = performance.now();
      request.open("PUT", `/uploads/${this.id}`);
      request.setRequestHeader("X-CSRFToken", this.box.dataset.csrf);
      request.setRequestHeader("Upload-Offset", String(offset));
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.upload.addEventListener("progress", (event) => {
        const percent = Math.floor((100 * (offset + event.loaded)) / this.file.size);
        this.bar.value = percent;
        const speed = event.loaded / Math.max(performance.now() - began, 1) * 1000;
        this.show(`${this.words.uploading} ${percent} % · ${size(speed)}/s`);
        document.title = `${percent} % · ${title}`;
      });
      request.addEventListener("load", () => done(request.status === 200 ? "sent" : "refused"));
      request.addEventListener("error", () => { this.show(this.words.interrupted); done("lost"); });
      request.addEventListener("abort", () => done("lost"));
      request.send(this.file.slice(offset));
    });
  }

  async finished(known) {
    this.bar.value = 100;
    document.title = title;
    const open = this.part("open");
    open.href = known.result;
    open.dataset.beside = this.id;
    open.hidden = false;
    this.part("cancel").hidden = true;
    this.shown?.(this.id);
    for (let { state, percent } = { state: "waiting" }; ;) {
      this.show(this.words[state] + (percent == null ? "" : ` ${percent} %`), state === "failed");
      if (["done", "failed", "cancelled"].includes(state)) { this.part("retry").hidden = true; return; }
      await sleep(LOOK);
      try { ({ state, percent } = await this.ask(`/uploads/${this.id}`, "GET")); } catch (error) { if (error.fatal) return; }
    }
  }

  async cancel() {
    this.cancelled = true;
    this.request?.abort();
    this.row.remove();
    document.title = title;
    if (this.id) await this.ask(`/uploads/${this.id}`, "DELETE").catch(() => {});
  }

  /** A JSON answer; throws an Error with one clear message, `fatal` where another try would not help. */
  async ask(address, method, body) {
    const headers = { "X-CSRFToken": this.box.dataset.csrf, "Content-Type": "application/json" };
    const answer = await fetch(address, { method, headers, body: body && JSON.stringify(body) });
    const found = answer.headers.get("content-type")?.startsWith("application/json") ? await answer.json() : null;
    if (answer.ok && found) return found;
    const error = found ? told(found, this.words) : new Error(this.words.server);
    error.fatal = answer.status < 500 && answer.status !== 429;
    throw error;
  }
}

function told(error, words) {
  const parts = [error?.found, error?.expected && `${words.expected} ${error.expected}`, error?.fix].filter(Boolean);
  const text = parts.map((part) => `${part[0].toUpperCase()}${part.slice(1).replace(/\.$/, "")}.`).join(" ");
  return Object.assign(new Error(text), { fatal: true });
}

function sleep(milliseconds) { return new Promise((done) => setTimeout(done, milliseconds)); }
