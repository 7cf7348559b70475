// Thresholds, which belong to the server, and the view, which belongs to this page.

import { call } from "./api.js";
import { $, make, say } from "./dom.js";
import { state } from "./state.js";

const THRESHOLDS = [
  ["instance_threshold", "Instances", "Lowest score of an object"],
  ["panoptic_threshold", "Panoptic", "Lowest score of a segment"],
  ["overlap", "Overlap", "Share of its own mask that a segment must keep against the others"],
];

function slider(title, help, value, act) {
  const output = make("output", {}, Number(value).toFixed(2));
  const id = `slider-${title.toLowerCase()}`;
  const input = make("input", {
    type: "range", id, min: 0, max: 1, step: 0.01, value, title: help,
    oninput: () => {
      say(output, Number(input.value).toFixed(2));
      act(Number(input.value));
    },
  });
  return { input, output, nodes: [make("label", { htmlFor: id, title: help }, title), input, output] };
}

export class Thresholds {
  #sliders = new Map();
  #pending = null;
  #busy = false;

  constructor(complain) {
    this.complain = complain;
    const nodes = THRESHOLDS.flatMap(([name, title, help]) => {
      const made = slider(title, help, 0.5, (value) => this.#set({ [name]: value }));
      this.#sliders.set(name, made);
      return made.nodes;
    });
    $("thresholds").replaceChildren(...nodes);
    $("defaults").addEventListener("click", () => this.#set(state.hello.default_readings));
    state.on("status", () => this.#follow());
  }

  /** At most one request is under way; of the values that come meanwhile the last one counts. */
  async #set(values) {
    this.#pending = { ...this.#pending, ...values };
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#pending) {
        const body = this.#pending;
        this.#pending = null;
        state.status.readings = await call("PATCH", "api/readings", body);
      }
      this.#follow();
    } catch (error) {
      this.complain(`The thresholds were not set: ${error.message}.`);
    } finally {
      this.#busy = false;
    }
  }

  /** Show what holds on the server, unless this page is changing it right now. */
  #follow() {
    if (this.#busy) return;
    for (const [name, { input, output }] of this.#sliders) {
      const value = state.status.readings[name];
      if (document.activeElement === input && input.matches(":active")) continue;
      if (Number(input.value) !== value) input.value = value;
      say(output, value.toFixed(2));
    }
  }
}

export function viewControls() {
  const opacity = slider("Opacity", "Of the colours over the camera picture", state.view.opacity, (value) =>
    state.look({ opacity: value }),
  );
  const checks = [
    ["outlines", "outlines"],
    ["names", "names and numbers"],
    ["shapes", "lines and zones"],
  ].map(([key, title]) => {
    const box = make("input", {
      type: "checkbox", checked: state.view[key], onchange: () => state.look({ [key]: box.checked }),
    });
    return make("label", { class: "check" }, box, title);
  });
  $("view").replaceChildren(...opacity.nodes, ...checks);
}
