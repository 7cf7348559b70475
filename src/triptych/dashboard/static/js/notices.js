// The strip under the bar: what the operator should know now, the gravest first.

import { $, say } from "./dom.js";

const ORDER = ["link", "source", "recording", "action", "drawing"];

export class Notices {
  #texts = new Map();
  #timers = new Map();

  /** Show a text of one kind in place of the one before; empty takes it away. */
  say(kind, text, { bad = false, seconds = 0 } = {}) {
    clearTimeout(this.#timers.get(kind));
    if (text) this.#texts.set(kind, { text, bad });
    else this.#texts.delete(kind);
    if (text && seconds) this.#timers.set(kind, setTimeout(() => this.say(kind, ""), 1000 * seconds));
    this.#show();
  }

  #show() {
    const strip = $("notice");
    const first = ORDER.map((kind) => this.#texts.get(kind)).find(Boolean);
    strip.hidden = !first;
    strip.classList.toggle("bad", Boolean(first?.bad));
    say(strip, first?.text ?? "");
  }
}
