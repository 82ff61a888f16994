// Drafts of corrections, kept in this browser until they are sent, and how old the kept one is.
import { text } from "./page.js";

export class Draft {
  #timer = 0;
  #clock = 0;
  #saved = 0;
  #waiting = null;

  constructor(name, status) {
    this.name = `draft ${name}`;
    this.status = status;
  }

  /** What was kept, or null. */
  read() {
    try { return JSON.parse(localStorage.getItem(this.name)); } catch { return null; }
  }

  /** Keeps it soon: not at every step of a drag. */
  keep(value) {
    this.#waiting = value;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#write(), 300);
  }

  drop() {
    this.#waiting = null;
    this.stop();
    try { localStorage.removeItem(this.name); } catch { /* then none was kept */ }
  }

  stop() {
    clearTimeout(this.#timer);
    if (this.#waiting) this.#write();
    clearInterval(this.#clock);
    this.status.textContent = "";
  }

  #write() {
    try { localStorage.setItem(this.name, JSON.stringify(this.#waiting)); } catch {
      this.status.textContent = text("not-saved");
      return;
    }
    this.#waiting = null;
    this.#saved = Date.now();
    clearInterval(this.#clock);
    this.#clock = setInterval(() => this.#tell(), 1000);
    this.#tell();
  }

  #tell() {
    const seconds = Math.round((Date.now() - this.#saved) / 1000);
    this.status.textContent = seconds < 60 ? text("saved", { seconds }) : text("saved-minutes", { minutes: Math.floor(seconds / 60) });
  }
}
