// The boxes of a correction: changes with undo and redo, and the label file that comes of them.
const MOST_STEPS = 200;

/** Boxes [{box: [x1, y1, x2, y2] in pixels of the picture, class_id}] with their history. */
export class Boxes {
  constructor(boxes, width, height) {
    this.all = boxes;
    this.width = width;
    this.height = height;
    this.past = [];
    this.future = [];
  }

  /** Remembers how it was, before a change. */
  mark() {
    this.past.push(structuredClone(this.all));
    if (this.past.length > MOST_STEPS) this.past.shift();
    this.future = [];
  }

  undo() { return this.#turn(this.past, this.future); }

  redo() { return this.#turn(this.future, this.past); }

  #turn(from, to) {
    if (!from.length) return false;
    to.push(this.all);
    this.all = from.pop();
    return true;
  }

  /** Moves a box as a whole, no further than the picture's edges. */
  move(number, dx, dy) {
    const [x1, y1, x2, y2] = this.all[number].box;
    const [right, down] = [within(dx, -x1, this.width - x2), within(dy, -y1, this.height - y2)];
    this.all[number].box = [x1 + right, y1 + down, x2 + right, y2 + down];
  }

  /** Moves the edges that `sides` names: "l", "r", "t", "b". A box keeps at least a pixel. */
  stretch(number, sides, dx, dy) {
    const box = [...this.all[number].box];
    if (sides.includes("l")) box[0] = within(box[0] + dx, 0, box[2] - 1);
    if (sides.includes("r")) box[2] = within(box[2] + dx, box[0] + 1, this.width);
    if (sides.includes("t")) box[1] = within(box[1] + dy, 0, box[3] - 1);
    if (sides.includes("b")) box[3] = within(box[3] + dy, box[1] + 1, this.height);
    this.all[number].box = box;
  }
}

export const within = (value, least, most) => Math.max(least, Math.min(most, value));

/** Boxes as a label file in YOLO's form: class number, centre, width and height in shares of the picture. */
export function yolo(boxes, width, height) {
  const share = (value) => Number(within(value, 0, 1).toFixed(6));
  const lines = boxes.map(({ box: [x1, y1, x2, y2], class_id: number }) => {
    const [left, top, right, bottom] = [x1 / width, y1 / height, x2 / width, y2 / height].map(share);
    return [number, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top].map((value, n) => (n ? value.toFixed(6) : value)).join(" ");
  });
  return new Blob([`${lines.join("\n")}\n`]);
}
