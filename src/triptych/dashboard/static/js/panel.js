// One of the three pictures: camera, coloured labels, names, lines and zones, what the pointer
// is over.

import { drawing, make, percent, say, whole } from "./dom.js";
import { ink, lighter, pixel, tint } from "./paint.js";
import { drawShapes } from "./shapes.js";
import { state } from "./state.js";

const DIMMED = 0.3; // of the opacity, for what is not followed

/** How each panel reads a frame: its labels, the colours of them, and what a label means. */
const READINGS = {
  semantic: {
    title: "Semantic",
    remark: (frame) => counted(frame.header.areas.filter((area) => area > 0).length, "class", "es"),
    colours: (frame) => frame.header.classes.map((entry, id) => ({ class: id, colour: entry.colour })),
    // A label beyond the classes is void: none of them.
    meaning: (frame, label) =>
      label < frame.header.areas.length ? { class: label, area: frame.header.areas[label] } : null,
  },
  instances: {
    title: "Instances",
    remark: (frame) => counted(frame.header.things.length, "object"),
    colours: (frame) => [null, ...frame.header.things],
    meaning: (frame, label) => (label ? frame.header.things[label - 1] : null),
  },
  panoptic: {
    title: "Panoptic",
    remark: (frame) => counted(frame.header.regions.length, "segment"),
    colours: (frame) => [
      null,
      ...frame.header.regions.map((region) => ({ ...region, track: trackOf(frame, region) })),
    ],
    meaning(frame, label) {
      if (!label) return null;
      const region = frame.header.regions[label - 1];
      return { ...region, track: trackOf(frame, region) };
    },
  },
};

const trackOf = (frame, region) =>
  region.thing === null ? null : frame.header.things[region.thing].track;
const counted = (n, noun, plural = "s") => `${n} ${noun}${n === 1 ? "" : plural}`;

export class Panel {
  #reading;
  #canvas = make("canvas", { tabIndex: 0 });
  #pen = this.#canvas.getContext("2d");
  #tints = document.createElement("canvas"); // the coloured labels, at the size of the picture
  #remark = make("span", { class: "remark" });
  #tip = make("div", { class: "tip", hidden: true });
  #empty = make("div", { class: "empty" }, "waiting for the first frame");
  #badge = make("div", { class: "badge", hidden: true });
  #film = null;
  #pointer = null; // where it is, in pixels of the canvas' box

  /** @param drawer takes over pointer and keys while a line or zone is being drawn */
  constructor(kind, drawer) {
    this.kind = kind;
    this.drawer = drawer;
    this.#reading = READINGS[kind];
    const title = `h-${kind}`;
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", `${this.#reading.title} panel`);
    const full = make(
      "button",
      { class: "icon", title: "Full screen", "aria-label": `${this.#reading.title}: full screen` },
      drawing("M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4"),
    );
    full.addEventListener("click", () => this.toggleFull());
    this.stage = make("div", { class: "stage" }, this.#canvas, this.#empty, this.#badge, this.#tip);
    this.element = make(
      "section",
      { class: `panel ${kind}`, "aria-labelledby": title },
      make("header", {}, make("h2", { id: title }, this.#reading.title), this.#remark, full),
      this.stage,
    );
    this.#listen();
  }

  #listen() {
    const canvas = this.#canvas;
    new ResizeObserver(() => this.draw()).observe(this.stage);
    canvas.addEventListener("pointermove", (event) => {
      this.#pointer = { x: event.offsetX, y: event.offsetY };
      if (this.drawer.active) this.drawer.moveTo(this.#share(this.#pointer));
      else this.#hover();
    });
    canvas.addEventListener("pointerleave", () => {
      this.#pointer = null;
      this.#hover();
    });
    canvas.addEventListener("click", (event) => {
      const at = { x: event.offsetX, y: event.offsetY };
      if (this.drawer.active) this.drawer.put(this.#share(at));
      else this.#choose(at);
    });
    canvas.addEventListener("dblclick", () => {
      if (this.drawer.active) this.drawer.finish();
      else this.toggleFull();
    });
    document.addEventListener("fullscreenchange", () => {
      this.element.classList.toggle("whole", document.fullscreenElement === this.element);
    });
  }

  toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.element.requestFullscreen();
  }

  focus() {
    this.#canvas.focus();
  }

  /** Say something over the picture (empty: nothing). */
  set badge(text) {
    say(this.#badge, text);
    this.#badge.hidden = !text;
  }

  /** Show a stream of pictures from an address in place of frames; null ends it. */
  play(address) {
    this.#film?.remove();
    this.#film = null;
    if (address === null) return;
    this.#empty.hidden = true;
    this.#film = make("img", { src: address, alt: `${this.#reading.title} panel` });
    this.stage.append(this.#film);
  }

  /** Take everything away, until the first frame of another source comes. */
  clear(text) {
    say(this.#empty, text);
    this.#empty.hidden = false;
    say(this.#remark, "");
    this.#pen.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#tip.hidden = true;
  }

  /** Paint the newest frame as the view says. */
  draw() {
    const { frame } = state;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.stage.clientWidth * ratio);
    const height = Math.round(this.stage.clientHeight * ratio);
    if (!frame || !width || !height) return;
    this.#empty.hidden = true;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    say(this.#remark, this.#reading.remark(frame));
    const box = this.#fit();
    this.#paint(frame);
    const pen = this.#pen;
    pen.fillStyle = "#07090b";
    pen.fillRect(0, 0, width, height);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(frame.camera, box.x, box.y, box.width, box.height);
    pen.drawImage(this.#tints, box.x, box.y, box.width, box.height);
    if (this.kind === "instances") this.#name(frame, box, ratio);
    this.#mark(frame, box, ratio);
    if (state.view.shapes || this.drawer.active) {
      drawShapes(pen, box, ratio, state.layout, state.figures?.counts);
    }
    if (this.drawer.active) this.drawer.sketch(pen, box, ratio);
    this.#hover();
  }

  /** Where the picture lies in the canvas, in its pixels. */
  #fit() {
    const { width, height } = this.#canvas;
    const { header } = state.frame;
    const scale = Math.min(width / header.width, height / header.height);
    const [w, h] = [header.width * scale, header.height * scale];
    return { x: (width - w) / 2, y: (height - h) / 2, width: w, height: h, scale };
  }

  #paint(frame) {
    const { width, height } = frame.header;
    const tints = this.#tints;
    if (tints.width !== width || tints.height !== height) {
      tints.width = width;
      tints.height = height;
    }
    const pen = tints.getContext("2d");
    const image = pen.createImageData(width, height);
    const { fill, line } = this.#palette(frame);
    tint(frame.blobs[this.kind], width, fill, line, new Uint32Array(image.data.buffer));
    pen.putImageData(image, 0, 0);
  }

  #palette(frame) {
    const { opacity, outlines } = state.view;
    const colours = this.#reading.colours(frame);
    const fill = new Uint32Array(colours.length);
    const line = outlines ? new Uint32Array(colours.length) : null;
    const dims = state.followed !== null && this.kind !== "semantic";
    colours.forEach((entry, label) => {
      if (!entry || !state.shows(entry.class)) return;
      const share = dims && entry.track !== state.followed ? DIMMED : 1;
      fill[label] = pixel(entry.colour, opacity * share);
      if (line) line[label] = pixel(lighter(entry.colour, 0.35), 0.9 * share);
    });
    return { fill, line };
  }

  /** Classes and numbers at their objects. */
  #name(frame, box, ratio) {
    if (!state.view.names) return;
    const pen = this.#pen;
    const size = Math.round(11 * ratio);
    pen.font = `600 ${size}px system-ui, sans-serif`;
    pen.textBaseline = "middle";
    const taken = [];
    for (const thing of frame.header.things) {
      if (!state.shows(thing.class)) continue;
      const name = state.classes[thing.class].name;
      const text = thing.track === null ? name : `${name} ${thing.track}`;
      const width = pen.measureText(text).width + 8 * ratio;
      const high = size + 5 * ratio;
      const left = box.x + thing.box[0] * box.scale;
      const top = box.y + thing.box[1] * box.scale;
      const x = Math.max(box.x, Math.min(left, box.x + box.width - width));
      const place = [top - high, top, box.y + thing.box[3] * box.scale].find(
        (y) =>
          y >= box.y &&
          y + high <= box.y + box.height &&
          !taken.some((o) => x < o.x + o.width && o.x < x + width && y < o.y + high && o.y < y + high),
      );
      if (place === undefined) continue;
      taken.push({ x, y: place, width });
      pen.fillStyle = thing.colour;
      pen.beginPath();
      pen.roundRect(x, place, width, high, 3 * ratio);
      pen.fill();
      pen.fillStyle = ink(thing.colour);
      pen.fillText(text, x + 4 * ratio, place + high / 2);
    }
  }

  /** A frame round the object that is followed. */
  #mark(frame, box, ratio) {
    const thing = frame.header.things.find((entry) => entry.track === state.followed);
    if (state.followed === null || !thing) return;
    const [x0, y0, x1, y1] = thing.box.map((edge) => edge * box.scale);
    const pen = this.#pen;
    for (const [width, style] of [[4, "#000000a0"], [2, "#ffffff"]]) {
      pen.lineWidth = width * ratio;
      pen.strokeStyle = style;
      pen.strokeRect(box.x + x0, box.y + y0, x1 - x0, y1 - y0);
    }
  }

  /** A place in the canvas' box as shares of the picture, kept inside it. */
  #share({ x, y }) {
    const ratio = window.devicePixelRatio || 1;
    const box = this.#fit();
    const inside = (value) => Math.min(Math.max(value, 0), 1);
    return [inside((x * ratio - box.x) / box.width), inside((y * ratio - box.y) / box.height)];
  }

  #labelAt(kind, { x, y }) {
    const { header, blobs } = state.frame;
    const ratio = window.devicePixelRatio || 1;
    const box = this.#fit();
    const column = Math.floor((x * ratio - box.x) / box.scale);
    const row = Math.floor((y * ratio - box.y) / box.scale);
    const inside = column >= 0 && row >= 0 && column < header.width && row < header.height;
    return inside ? blobs[kind][row * header.width + column] : null;
  }

  #choose(at) {
    if (!state.frame) return;
    const label = this.#labelAt("instances", at);
    const thing = label ? state.frame.header.things[label - 1] : null;
    if (thing && thing.track !== null) state.follow(thing.track);
    else if (state.followed !== null) state.follow(state.followed);
  }

  #hover() {
    const { frame } = state;
    const label =
      frame && this.#pointer && !this.drawer.active
        ? this.#labelAt(this.kind, this.#pointer)
        : null;
    const found = label === null ? null : this.#reading.meaning(frame, label);
    this.#tip.hidden = !found || !state.shows(found.class);
    if (this.#tip.hidden) return;
    const { name } = state.classes[found.class];
    const share = found.area / (frame.header.width * frame.header.height);
    const lines = [`${whole(found.area)} px, ${percent(share)} of the picture`];
    if (found.score !== undefined) lines.unshift(`score ${found.score.toFixed(2)}`);
    if (found.age !== undefined && found.track !== null) {
      lines.push(`in sight for ${found.age.toFixed(1)} s`);
    }
    this.#tip.replaceChildren(
      make("b", {}, found.track == null ? name : `${name} ${found.track}`),
      ...lines.flatMap((line) => [make("br"), make("span", {}, line)]),
    );
    this.#place();
  }

  /** The tip beside the pointer, inside the panel. */
  #place() {
    const { x, y } = this.#pointer;
    const { offsetWidth, offsetHeight } = this.#tip;
    const left = x + 14 + offsetWidth > this.stage.clientWidth ? x - 10 - offsetWidth : x + 14;
    const top = y + 14 + offsetHeight > this.stage.clientHeight ? y - 10 - offsetHeight : y + 14;
    this.#tip.style.transform = `translate(${Math.max(left, 0)}px, ${Math.max(top, 0)}px)`;
  }

  get picture() {
    return this.#canvas;
  }
}
