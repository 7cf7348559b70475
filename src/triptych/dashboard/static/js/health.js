// How the shown source and the server fare.

import { $, make, milliseconds, roughly, say, whole } from "./dom.js";
import { state } from "./state.js";

export const WORDS = {
  connecting: ["connecting", "warn"],
  running: ["running", "good"],
  paused: ["paused", "warn"],
  stalled: ["stalled", "warn"],
  waiting: ["lost, will retry", "bad"],
  ended: ["ended", ""],
  failed: ["failed", "bad"],
  closed: ["closed", ""],
};

const STAGES = ["decode", "wait", "network", "readings", "track", "draw", "send"];

export class Health {
  #facts = make("dl", { class: "health" });
  #stages = make("table", { class: "stages" });
  #values = new Map();
  #meters = new Map();

  constructor() {
    $("health").replaceChildren(this.#facts, this.#stages);
    for (const stage of STAGES) {
      const meter = make("meter", { min: 0, max: 1, value: 0, "aria-label": stage });
      const text = make("td");
      this.#meters.set(stage, { meter, text });
      this.#stages.append(make("tr", {}, make("td", {}, stage), make("td", {}, meter), text));
    }
    state.on("status source", () => this.#show());
  }

  #show() {
    const { figures, status } = state;
    if (!figures) return;
    const dropped = Object.entries(figures.dropped).filter(([, n]) => n > 0);
    const facts = {
      source: WORDS[figures.phase][0] + (figures.message ? `: ${figures.message}` : ""),
      picture: figures.size ? `${figures.size[1]} × ${figures.size[0]}` : "–",
      "frames a second": `${figures.rate.toFixed(1)} of ${figures.incoming.toFixed(1)}`,
      "frame to drawn": figures.delay === null ? "–" : milliseconds(figures.delay),
      dropped: dropped.map(([reason, n]) => `${whole(n)} ${reason}`).join(", ") || "none",
      connections: whole(figures.connections),
      model: `${state.hello.model.name} on ${state.hello.model.device}`,
      pages: whole(status.clients),
      "running for": roughly(status.uptime),
    };
    for (const [title, text] of Object.entries(facts)) {
      if (!this.#values.has(title)) {
        const value = make("dd");
        this.#values.set(title, value);
        this.#facts.append(make("dt", {}, title), value);
      }
      say(this.#values.get(title), text);
    }
    const most = Math.max(...STAGES.map((stage) => figures.timings[stage] ?? 0), 1e-6);
    for (const [stage, { meter, text }] of this.#meters) {
      const seconds = figures.timings[stage];
      meter.value = (seconds ?? 0) / most;
      say(text, seconds === undefined ? "–" : milliseconds(seconds));
    }
  }
}
