// What was found, which of it is shown, and which one is lit. Everything that shows findings listens to one of these.
export class Findings extends EventTarget {
  /** @param items [{id, class, class_id, score, box: [x1, y1, x2, y2] | undefined, ...}] @param score least one shown */
  constructor(items, score) {
    super();
    this.items = items;
    this.score = score;
    this.off = new Set();
    this.lit = null;
  }

  above() { return this.items.filter((one) => one.score >= this.score); }

  shown() { return this.above().filter((one) => !this.off.has(one.class)); }

  setScore(score) {
    this.score = score;
    this.#tell("change");
  }

  toggle(name) {
    if (!this.off.delete(name)) this.off.add(name);
    this.#tell("change");
  }

  /** Lights one up by its id; null: none. */
  light(id) {
    if (this.lit === id) return;
    this.lit = id;
    this.#tell("light");
  }

  #tell(name) { this.dispatchEvent(new Event(name)); }
}
