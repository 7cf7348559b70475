// Which of the network's classes are shown together, and under which names.

import { call } from "./api.js";
import { $, make, say } from "./dom.js";

/** The dialog: each class of the network with the name of its group. */
export class GroupDialog {
  #rows = []; // {name, input}

  constructor() {
    $("groups-open").addEventListener("click", () => this.open());
    $("groups-close").addEventListener("click", () => $("groups-dialog").close());
    $("groups-none").addEventListener("click", () => this.#fill(() => ""));
    $("groups-each").addEventListener("click", () => this.#fill((name) => name));
    $("groups-form").addEventListener("submit", (event) => this.#save(event));
    $("groups-form").addEventListener("input", () => this.#typed());
  }

  async open() {
    if ($("groups-dialog").open) return;
    this.#complain("");
    $("groups-rows").replaceChildren();
    this.#rows = [];
    $("groups-dialog").showModal();
    try {
      this.#build(await call("GET", "api/regroup"));
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #build({ groups, network_classes: classes }) {
    const plain = !Object.keys(groups).length;
    const groupOf = new Map(
      Object.entries(groups).flatMap(([group, members]) => members.map((name) => [name, group])),
    );
    this.#rows = classes.map(({ name, thing, colour }, number) => {
      const id = `group-of-${number}`;
      const value = plain ? name : groupOf.get(name) ?? "";
      const input = make("input", { type: "text", id, value, maxLength: 200, autocomplete: "off" });
      input.setAttribute("list", "group-names");
      input.placeholder = "left out";
      const label = make("label", { htmlFor: id, class: "name" }, name);
      const mark = make("i", { swatch: colour, title: thing ? "counted" : "not counted: stuff" });
      $("groups-rows").append(make("div", { class: "row" }, mark, label, input));
      return { name, input };
    });
    this.#typed();
    this.#rows[0]?.input.focus();
  }

  #fill(group) {
    for (const { name, input } of this.#rows) input.value = group(name);
    this.#typed();
  }

  /** Offer the names that there are by now. */
  #typed() {
    this.#complain("");
    const names = new Set(this.#rows.map(({ input }) => input.value.trim()).filter(Boolean));
    $("group-names").replaceChildren(...[...names].map((value) => make("option", { value })));
  }

  #complain(text) {
    $("groups-error").hidden = !text;
    say($("groups-error"), text);
  }

  async #save(event) {
    event.preventDefault();
    const groups = new Map();
    for (const { name, input } of this.#rows) {
      const group = input.value.trim();
      if (group) groups.set(group, [...(groups.get(group) ?? []), name]);
    }
    // Every class by itself: no groups, and new classes of another model are not left out later.
    const plain = this.#rows.every(({ name, input }) => input.value.trim() === name);
    $("groups-save").disabled = true;
    try {
      if (plain) await call("DELETE", "api/regroup");
      else await call("PUT", "api/regroup", { groups: Object.fromEntries(groups) });
      $("groups-dialog").close();
    } catch (error) {
      this.#complain(error.message);
    }
    $("groups-save").disabled = false;
  }
}
