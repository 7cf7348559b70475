// The objects in sight, as a list: what hovering tells, for the keyboard too. Choosing one
// follows it.

import { $, make, percent, say } from "./dom.js";
import { state } from "./state.js";

export class Objects {
  #rows = new Map(); // number of an object -> its row

  constructor() {
    state.on("frame follow view source", () => this.#show());
  }

  #show() {
    const { frame } = state;
    const things = (frame?.header.things ?? []).filter(
      (thing) => thing.track !== null && state.shows(thing.class),
    );
    things.sort((a, b) => a.track - b.track);
    const wanted = things.map((thing) => this.#row(thing));
    const lost = state.followed !== null && !things.some(({ track }) => track === state.followed);
    if (lost) wanted.unshift(this.#gone());
    if (!wanted.length) wanted.push(make("p", { class: "nothing" }, "Nothing that is counted."));
    const list = $("objects");
    // Rows stay in place while they are right, so that focus and scrolling survive a new frame.
    if (list.children.length !== wanted.length || wanted.some((row, i) => list.children[i] !== row)) {
      const focused = document.activeElement;
      list.replaceChildren(...wanted);
      if (wanted.includes(focused)) focused.focus();
    }
    for (const track of this.#rows.keys()) {
      if (!things.some((thing) => thing.track === track)) this.#rows.delete(track);
    }
    say($("objects-count"), things.length ? String(things.length) : "");
  }

  #row(thing) {
    let row = this.#rows.get(thing.track);
    if (!row) {
      row = make("button", { title: "Follow", onclick: () => state.follow(thing.track) },
        make("i"), make("span"), make("em"), make("em"));
      this.#rows.set(thing.track, row);
    }
    const { header } = state.frame;
    const [, name, score, area] = row.children;
    row.style.setProperty("--swatch", thing.colour);
    row.setAttribute("aria-pressed", String(thing.track === state.followed));
    say(name, `${state.classes[thing.class].name} ${thing.track}`);
    say(score, thing.score.toFixed(2));
    say(area, percent(thing.area / (header.width * header.height)));
    return row;
  }

  #gone() {
    return make("button", { "aria-pressed": "true", title: "Stop following", onclick: () => state.follow(state.followed) },
      make("i"), make("span", {}, `${state.followed}: out of sight`), make("em", {}, "followed"), make("em"));
  }
}
