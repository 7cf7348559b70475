// For where a WebSocket does not get through: pictures that the server paints, and figures that
// are asked for. What needs more than that is hidden meanwhile.

import { call, ofSource } from "./api.js";
import { state } from "./state.js";

const PERIOD = 2000;

export class Fallback {
  #timer = null;

  constructor(panels, { greet, figures, changed }) {
    this.panels = panels;
    this.greet = greet;
    this.figures = figures;
    this.changed = changed;
    state.on("source", () => this.#picture());
  }

  get active() {
    return this.#timer !== null;
  }

  /** Begin, if the server answers ordinary requests. */
  async start() {
    if (this.active) return;
    try {
      const hello = await call("GET", "api/model");
      if (this.active) return;
      this.greet(hello);
      this.#timer = setInterval(() => this.#ask(), PERIOD);
      state.frame = null;
      await this.#ask();
      this.#picture();
      this.changed(true);
    } catch {
      // It does not: the link goes on trying, and so does this.
    }
  }

  stop() {
    if (!this.active) return;
    clearInterval(this.#timer);
    this.#timer = null;
    for (const panel of this.panels) panel.play(null);
    this.changed(false);
  }

  async #ask() {
    try {
      this.figures(await call("GET", "api/status"));
    } catch {
      this.stop();
    }
  }

  #picture() {
    if (!this.active || state.source === null) return;
    for (const panel of this.panels) {
      panel.play(ofSource(state.source, `/stream.mjpg?panel=${panel.kind}`));
    }
  }
}
