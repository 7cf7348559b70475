// The legend: what every colour means, what there is of it now, and what is shown.

import { $, make, percent, say, whole } from "./dom.js";
import { state } from "./state.js";

export class Classes {
  #rows = [];

  constructor() {
    state.on("hello", () => this.#build());
    state.on("view", () => this.#check());
    state.on("status source", () => this.#count());
    $("classes-all").addEventListener("click", () => state.look({ hidden: [] }));
    $("classes-none").addEventListener("click", () =>
      state.look({ hidden: state.hello.classes.map(({ name }) => name) }),
    );
  }

  #build() {
    this.#rows = state.hello.classes.map((entry) => {
      const box = make("input", { type: "checkbox", onchange: () => toggle(entry.name) });
      const cells = Array.from({ length: 4 }, () => make("td"));
      const row = make("tr", {},
        make("td", {}, make("label", { class: "class", swatch: entry.colour }, box, make("span", {}, entry.name))),
        ...cells);
      return { entry, box, cells, row };
    });
    $("classes").replaceChildren(...this.#rows.map(({ row }) => row));
    this.#check();
    this.#count();
  }

  #check() {
    for (const { entry, box } of this.#rows) box.checked = !state.view.hidden.includes(entry.name);
  }

  #count() {
    const counts = state.figures?.counts;
    for (const { entry, cells } of this.#rows) {
      const numbers = ["now", "entered", "left"].map((key) => counts?.[key][entry.name]);
      numbers.forEach((n, i) => figure(cells[i], n === undefined ? "" : whole(n), n === 0));
      const share = counts?.share[entry.name];
      figure(cells[3], share === undefined ? "" : percent(share), share === 0);
    }
  }
}

function figure(cell, text, none) {
  say(cell, text);
  cell.classList.toggle("none", none);
}

function toggle(name) {
  const { hidden } = state.view;
  state.look({
    hidden: hidden.includes(name) ? hidden.filter((other) => other !== name) : [...hidden, name],
  });
}
