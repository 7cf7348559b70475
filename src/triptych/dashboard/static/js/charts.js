// Objects in sight and shares of the picture over time.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { call, ofSource } from "./api.js";
import { $, make } from "./dom.js";
import { state } from "./state.js";

const SPANS = [["window", "10 min"], ["run", "whole run"]];
const WINDOW = 600; // seconds
const REFRESH = 15; // seconds after which the whole run is asked for again
const FAINTEST = 0.005; // shares of the picture below this through all the time get no line

/** Both charts, and the choice of the time they show. */
export class Charts {
  #objects = new Chart($("chart-objects"), "count", (v) => String(v), [0, 1]);
  #areas = new Chart($("chart-areas"), "share", (v) => `${Math.round(100 * v)}%`, [0, 0.1]);
  #columns = null;
  #asked = 0; // number of the newest question; the answer to an older one is not shown
  #span = null;
  #when = 0;

  constructor(complain) {
    this.complain = complain;
    for (const [key, title] of SPANS) {
      $("span").append(make("button", { "data-span": key, onclick: () => state.look({ span: key }) }, title));
    }
    state.on("source", () => this.#load());
    state.on("view", () => (this.#span === this.#wanted() ? this.#show() : this.#load()));
    state.on("status", () => this.#append());
    state.on("theme", () => this.#show(true));
  }

  #wanted() {
    return SPANS.some(([key]) => key === state.view.span) ? state.view.span : SPANS[0][0];
  }

  async #load() {
    this.#span = this.#wanted();
    this.#when = performance.now();
    for (const button of $("span").children) {
      button.setAttribute("aria-pressed", String(button.dataset.span === this.#span));
    }
    if (!state.source) return;
    const number = ++this.#asked;
    try {
      const { columns } = await call("GET", ofSource(state.source, `/history?span=${this.#span}`));
      if (number !== this.#asked) return;
      this.#columns = columns;
      this.#show();
    } catch (error) {
      this.complain(`The charts were not loaded: ${error.message}.`);
    }
  }

  /** The newest figures, as one more point. */
  #append() {
    const { figures } = state;
    if (this.#span === "run") {
      if (performance.now() - this.#when > 1000 * REFRESH) this.#load();
      return;
    }
    if (!this.#columns || !figures?.counts) return;
    const columns = this.#columns;
    // On the source's own clock, which for a file is the film's: it may be read faster or slower.
    const { time } = figures;
    if (time <= columns.time.at(-1)) {
      if (time < columns.time.at(-1) - 1) this.#load(); // it was begun anew
      return;
    }
    const { now, share } = figures.counts;
    const values = { time };
    for (const [name, value] of Object.entries(now)) values[`count.${name}`] = value;
    for (const [name, value] of Object.entries(share)) values[`share.${name}`] = value;
    const length = columns.time.length;
    for (const key of Object.keys(values)) columns[key] ??= Array(length).fill(null);
    const expired = columns.time.findIndex((past) => past > time - WINDOW);
    for (const [key, column] of Object.entries(columns)) {
      column.push(values[key] ?? null);
      if (expired > 0) column.splice(0, expired);
    }
    this.#show();
  }

  #show(anew = false) {
    if (!this.#columns || !state.hello) return;
    const columns = broken(this.#columns);
    for (const chart of [this.#objects, this.#areas]) chart.show(columns, anew);
  }
}

/** The columns with an empty row wherever no frame came for a while: no line is drawn over that. */
function broken(columns) {
  const { time } = columns;
  const steps = time.slice(1).map((at, i) => at - time[i]);
  const usual = [...steps].sort((a, b) => a - b)[steps.length >> 1];
  const gaps = steps.map((step, i) => (step > Math.max(3 * usual, 3) ? i : -1)).filter((i) => i >= 0);
  if (!gaps.length) return columns;
  const filled = {};
  for (const [key, column] of Object.entries(columns)) {
    filled[key] = [];
    let from = 0;
    for (const gap of gaps) {
      filled[key].push(...column.slice(from, gap + 1), key === "time" ? time[gap] + usual : null);
      from = gap + 1;
    }
    filled[key].push(...column.slice(from));
  }
  return filled;
}

class Chart {
  #plot = null;
  #keys = "";

  /** @param least the range of values that is always shown */
  constructor(place, prefix, format, least) {
    this.place = place;
    this.prefix = prefix;
    this.format = format;
    this.least = least;
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(place);
  }

  #size() {
    return { width: this.place.clientWidth, height: this.place.clientHeight };
  }

  show(columns, anew) {
    const { classes: present, former_classes: former } = state.hello;
    const classes = [...present, ...former].filter(({ name }) => {
      const column = columns[`${this.prefix}.${name}`];
      const enough = this.prefix === "count" || column?.some((value) => value > FAINTEST);
      return column && enough && !state.view.hidden.includes(name);
    });
    const keys = classes.map(({ name }) => name).join();
    if (anew || !this.#plot || keys !== this.#keys) {
      this.#plot?.destroy();
      this.#plot = new uPlot(this.#options(classes), [[]], this.place);
      this.#keys = keys;
    }
    this.#plot.setData([columns.time, ...classes.map(({ name }) => columns[`${this.prefix}.${name}`])]);
  }

  #options(classes) {
    const style = getComputedStyle(this.place);
    const dark = state.dark;
    const axis = {
      stroke: style.getPropertyValue("color"),
      grid: { stroke: dark ? "#ffffff12" : "#00000012", width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    return {
      ...this.#size(),
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      padding: [6, 8, 0, 0],
      scales: { y: { range: (_, low, high) => [this.least[0], Math.max(high ?? 0, this.least[1]) * 1.08] } },
      axes: [
        { ...axis, size: 22, space: 80, values: (_, ticks, __, ___, step) => ticks.map((t) => clock(t, step)) },
        { ...axis, size: 40, values: (_, ticks) => ticks.map(this.format), incrs: this.prefix === "count" ? [1, 2, 5, 10, 20, 50, 100] : undefined, space: 26 },
      ],
      series: [
        {},
        ...classes.map(({ name, colour }) => ({
          label: name, stroke: visible(colour, dark), width: 1.6, points: { show: false }, spanGaps: false,
        })),
      ],
      plugins: [readout(this.format)],
    };
  }
}

/** The time of day, with seconds where ticks are that close; the day where they are far apart. */
function clock(time, step) {
  const parts =
    step >= 86400
      ? { month: "short", day: "numeric" }
      : { hour: "2-digit", minute: "2-digit", ...(step < 60 && { second: "2-digit" }), hourCycle: "h23" };
  return new Date(1000 * time).toLocaleString("en-GB", parts);
}

/** The colour of a class, moved towards the text's where the card would swallow it. */
function visible(colour, dark) {
  return `color-mix(in srgb, ${colour}, ${dark ? "white" : "black"} ${dark ? 30 : 12}%)`;
}

/** The values under the pointer, in a corner of the chart. */
function readout(format) {
  const box = make("div", { class: "readout", hidden: true });
  return {
    hooks: {
      init: (plot) => plot.over.append(box),
      setCursor(plot) {
        const at = plot.cursor.idx;
        box.hidden = at == null || plot.cursor.left < 0;
        if (box.hidden) return;
        const time = clock(plot.data[0][at], 1);
        const lines = plot.series.slice(1).map(({ label }, i) => [label, plot.data[i + 1][at]]);
        box.replaceChildren(
          make("b", {}, time),
          ...lines
            .filter(([, value]) => value != null)
            .map(([label, value]) => make("span", {}, `${label} ${format(Math.round(100 * value) / 100)}`)),
        );
        box.classList.toggle("right", plot.cursor.left < plot.over.clientWidth / 2);
      },
    },
  };
}
