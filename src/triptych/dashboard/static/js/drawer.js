// Drawing a line or a zone on any of the panels, with the pointer or with the keys.

import { drawLine, drawZone, stroke } from "./shapes.js";
import { state } from "./state.js";

const COLOUR = "#ffffff";
const STEP = 0.01;
const HINTS = {
  line: "Line: click where it starts and where it ends. Esc stops.",
  zone: "Zone: click its corners, at least three; a double click or Enter on the last corner closes it. Esc stops.",
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Drawer {
  #kind = null;
  #points = [];
  #cursor = [0.5, 0.5];

  /** `save(layout)` stores the result; `changed(hint)` is called when drawing starts, moves, ends. */
  constructor(save, changed) {
    this.save = save;
    this.changed = changed;
  }

  get active() {
    return this.#kind !== null;
  }

  start(kind) {
    this.#kind = kind;
    this.#points = [];
    this.#cursor = [0.5, 0.5];
    this.changed(HINTS[kind]);
  }

  stop() {
    this.#kind = null;
    this.changed("");
  }

  moveTo(point) {
    this.#cursor = point;
    this.changed(HINTS[this.#kind]);
  }

  put(point) {
    this.#cursor = point;
    const last = this.#points.at(-1);
    // The second click of a double click falls on the corner that the first one set.
    if (last && Math.hypot(last[0] - point[0], last[1] - point[1]) < 0.004) return;
    this.#points.push(point);
    if (this.#kind === "line" && this.#points.length === 2) this.finish();
    else this.changed(HINTS[this.#kind]);
  }

  finish() {
    const [kind, points] = [this.#kind, this.#points];
    if (kind === "zone" && points.length < 3) return;
    this.stop();
    const { lines, zones } = state.layout;
    const rounded = points.map((point) => point.map((v) => Number(v.toFixed(4))));
    if (kind === "line") {
      const line = { name: free("Line", lines), a: rounded[0], b: rounded[1] };
      this.save({ lines: [...lines, line], zones });
    } else {
      const zone = { name: free("Zone", zones), corners: rounded };
      this.save({ lines, zones: [...zones, zone] });
    }
  }

  /** Whether a key meant something to the drawing. */
  key(event) {
    if (!this.active) return false;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const step = STEP * (event.shiftKey ? 5 : 1);
      this.moveTo(this.#cursor.map((v, i) => Math.min(Math.max(v + step * arrow[i], 0), 1)));
    } else if (event.key === "Enter") {
      const before = this.#points.length;
      this.put(this.#cursor);
      if (this.active && this.#points.length === before) this.finish();
    } else if (event.key === "Backspace") {
      this.#points.pop();
      this.changed(HINTS[this.#kind]);
    } else if (event.key === "Escape") {
      this.stop();
    } else {
      return false;
    }
    return true;
  }

  /** What is drawn so far, with the place of pointer or keys. */
  sketch(pen, box, ratio) {
    const points = [...this.#points, this.#cursor];
    if (this.#kind === "line" && points.length === 2) {
      drawLine(pen, box, ratio, { a: points[0], b: points[1] }, COLOUR);
    } else if (points.length > 1) {
      drawZone(pen, box, ratio, points, COLOUR);
    }
    const [x, y] = [box.x + this.#cursor[0] * box.width, box.y + this.#cursor[1] * box.height];
    const cross = new Path2D();
    const arm = 9 * ratio;
    cross.moveTo(x - arm, y);
    cross.lineTo(x + arm, y);
    cross.moveTo(x, y - arm);
    cross.lineTo(x, y + arm);
    stroke(pen, ratio, cross, COLOUR);
  }
}

function free(word, shapes) {
  const names = new Set(shapes.map(({ name }) => name));
  let number = 1;
  while (names.has(`${word} ${number}`)) number += 1;
  return `${word} ${number}`;
}
