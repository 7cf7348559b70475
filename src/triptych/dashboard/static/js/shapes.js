// Counting lines and zones: on the pictures, and as a list with their counts.

import { $, drawing, make, roughly, say } from "./dom.js";
import { state } from "./state.js";

const COLOURS = ["#ffd34d", "#5fd3f3", "#ff9f6b", "#b6e36a", "#f49ac1", "#c3a6ff"];

const colourOf = (index) => COLOURS[index % COLOURS.length];
export const sum = (counts) => Object.values(counts ?? {}).reduce((a, b) => a + b, 0);

/** All of them over a picture that lies at `box` in a canvas. */
export function drawShapes(pen, box, ratio, layout, counts) {
  layout.lines.forEach((line, index) => {
    drawLine(pen, box, ratio, line, colourOf(index));
    const { forward, backward } = counts?.lines[line.name] ?? {};
    label(pen, box, ratio, middle([line.a, line.b]), `${line.name}  ${sum(forward)} / ${sum(backward)}`, colourOf(index));
  });
  layout.zones.forEach((zone, index) => {
    const colour = colourOf(layout.lines.length + index);
    drawZone(pen, box, ratio, zone.corners, colour);
    const inside = sum(counts?.zones[zone.name]?.inside);
    label(pen, box, ratio, middle(zone.corners), `${zone.name}  ${inside}`, colour);
  });
}

const place = (box, [x, y]) => [box.x + x * box.width, box.y + y * box.height];
const middle = (points) =>
  [0, 1].map((axis) => points.reduce((total, point) => total + point[axis], 0) / points.length);

export function stroke(pen, ratio, path, colour) {
  for (const [width, style] of [[4, "#000000a0"], [2, colour]]) {
    pen.lineWidth = width * ratio;
    pen.strokeStyle = style;
    pen.lineJoin = "round";
    pen.lineCap = "round";
    pen.stroke(path);
  }
}

/** The line, and an arrow to the side that counts as forward. */
export function drawLine(pen, box, ratio, { a, b }, colour) {
  const [[ax, ay], [bx, by]] = [place(box, a), place(box, b)];
  const path = new Path2D();
  path.moveTo(ax, ay);
  path.lineTo(bx, by);
  const length = Math.hypot(bx - ax, by - ay);
  if (length > 0) {
    // To the right of who walks from a to b; the y axis of pictures points down.
    const [nx, ny] = [-(by - ay) / length, (bx - ax) / length];
    const [dx, dy] = [(bx - ax) / length, (by - ay) / length];
    const [sx, sy] = [ax + 0.25 * (bx - ax), ay + 0.25 * (by - ay)];
    const [long, wing] = [14 * ratio, 5 * ratio];
    const [tx, ty] = [sx + long * nx, sy + long * ny];
    path.moveTo(sx, sy);
    path.lineTo(tx, ty);
    for (const side of [-1, 1]) {
      path.moveTo(tx, ty);
      path.lineTo(tx - wing * nx + side * wing * dx, ty - wing * ny + side * wing * dy);
    }
  }
  stroke(pen, ratio, path, colour);
}

export function drawZone(pen, box, ratio, corners, colour) {
  const path = new Path2D();
  corners.forEach((corner, i) => (i ? path.lineTo(...place(box, corner)) : path.moveTo(...place(box, corner))));
  path.closePath();
  pen.fillStyle = `${colour}24`;
  pen.fill(path);
  stroke(pen, ratio, path, colour);
}

function label(pen, box, ratio, at, text, colour) {
  const size = Math.round(11 * ratio);
  pen.font = `600 ${size}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  const width = pen.measureText(text).width + 8 * ratio;
  const high = size + 5 * ratio;
  const [x, y] = place(box, at);
  const left = Math.max(box.x, Math.min(x - width / 2, box.x + box.width - width));
  const top = Math.max(box.y, Math.min(y - high / 2, box.y + box.height - high));
  pen.fillStyle = "#0b0e12d0";
  pen.beginPath();
  pen.roundRect(left, top, width, high, 3 * ratio);
  pen.fill();
  pen.fillStyle = colour;
  pen.fillText(text, left + 4 * ratio, top + high / 2);
}

const LINE = drawing.bind(null, "M2 13 14 3");
const ZONE = drawing.bind(null, "M3 3h10v10H3z");
const BIN = drawing.bind(null, "M4 4l8 8M12 4l-8 8");

/** The list; `save(layout)` stores a changed one. */
export class ShapeList {
  #rows = new Map(); // name of a kind and shape -> where its figures stand

  constructor(save) {
    this.save = save;
    state.on("layout source", () => this.#build());
    state.on("status", () => this.#count());
  }

  #build() {
    this.#rows.clear();
    const { lines, zones } = state.layout;
    const rows = [
      ...lines.map((line, index) => this.#row("lines", line, index, LINE(), index)),
      ...zones.map((zone, index) => this.#row("zones", zone, index, ZONE(), lines.length + index)),
    ];
    if (!rows.length) {
      rows.push(make("p", { class: "nothing" }, "None yet. Draw a line across a street, or a zone round a place, on any of the panels."));
    }
    $("shapes").replaceChildren(...rows);
    this.#count();
  }

  #row(kind, shape, index, mark, colour) {
    const name = make("input", {
      type: "text", value: shape.name, maxLength: 80, "aria-label": "Name",
      onchange: () => this.#change(kind, index, { ...shape, name: name.value.trim() }),
    });
    const remove = make("button", {
      class: "icon", title: "Remove", "aria-label": `Remove ${shape.name}`,
      onclick: () => this.#change(kind, index, null),
    }, BIN());
    const figures = make("dl");
    this.#rows.set(`${kind} ${shape.name}`, figures);
    return make("div", { class: "shape", swatch: colourOf(colour) },
      make("div", { class: "top" }, make("span", { class: "mark" }, mark), name, remove), figures);
  }

  #change(kind, index, shape) {
    const changed = [...state.layout[kind]];
    changed.splice(index, 1, ...(shape ? [shape] : []));
    this.save({ ...state.layout, [kind]: changed });
  }

  #count() {
    const counts = state.figures?.counts;
    for (const { name } of state.layout.lines) {
      const { forward, backward } = counts?.lines[name] ?? {};
      this.#show(`lines ${name}`, [["forward (arrow)", byClass(forward)], ["backward", byClass(backward)]]);
    }
    for (const { name } of state.layout.zones) {
      const { inside, entered, left, dwell } = counts?.zones[name] ?? {};
      const stays = Object.entries(dwell ?? {}).filter(([key]) => left?.[key]);
      const mean = stays.reduce((total, [key, s]) => total + s * left[key], 0) / sum(left);
      this.#show(`zones ${name}`, [
        ["inside now", byClass(inside)],
        ["entered", byClass(entered)],
        ["left", byClass(left)],
        ["mean stay", stays.length ? roughly(mean) : "–"],
      ]);
    }
  }

  #show(key, pairs) {
    const figures = this.#rows.get(key);
    if (!figures) return;
    if (!figures.children.length) {
      figures.append(...pairs.flatMap(([title]) => [make("dt", {}, title), make("dd")]));
    }
    pairs.forEach(([, text], i) => say(figures.children[2 * i + 1], text));
  }
}

/** "3: 2 car, 1 bicyclist", or "0". */
function byClass(counts) {
  const seen = Object.entries(counts ?? {}).filter(([, n]) => n > 0);
  const parts = seen.map(([name, n]) => `${n} ${name}`).join(", ");
  return seen.length > 1 ? `${sum(counts)}: ${parts}` : parts || "0";
}
