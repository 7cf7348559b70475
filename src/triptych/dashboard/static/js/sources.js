// Sources that come and go while the server runs, where the operator allowed it.

import { call, ofSource } from "./api.js";
import { $, make, say } from "./dom.js";
import { WORDS } from "./health.js";
import { state } from "./state.js";

const WHAT = {
  public: "The address of a camera or stream outside the server's own network.",
  any: "The address of a camera or stream; a video or a folder of images on the server; the number of a webcam.",
};

/** The dialog; `added(name)` is told of each new source. */
export class SourceDialog {
  #rows = new Map(); // name -> row
  #added;

  constructor(added) {
    this.#added = added;
    $("sources-open").addEventListener("click", () => this.open());
    $("sources-close").addEventListener("click", () => $("sources-dialog").close());
    $("source-form").addEventListener("submit", (event) => this.#add(event));
    $("source-form").addEventListener("input", () => this.#complain(""));
    state.on("hello", () => {
      $("sources-open").hidden = !this.allowed;
      say($("source-what"), WHAT[state.hello.can_add] ?? "");
    });
    state.on("status", () => this.#list());
  }

  get allowed() {
    return state.hello !== null && state.hello.can_add !== "none";
  }

  open() {
    if (!this.allowed || $("sources-dialog").open) return;
    this.#complain("");
    this.#list();
    $("sources-dialog").showModal();
    $("source-address").focus();
  }

  #complain(text) {
    $("source-error").hidden = !text;
    say($("source-error"), text);
  }

  async #attempt(button, work) {
    this.#complain("");
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      this.#complain(error.message);
    }
    button.disabled = false;
  }

  #add(event) {
    event.preventDefault();
    const [address, name] = [$("source-address"), $("source-name")];
    this.#attempt(event.submitter ?? $("source-add"), async () => {
      const source = { source: address.value.trim() };
      if (name.value.trim()) source.name = name.value.trim();
      const { name: given } = await call("POST", "api/sources", source);
      address.value = name.value = "";
      $("sources-dialog").close();
      this.#added(given);
    });
  }

  #list() {
    if (!$("sources-dialog").open) return;
    const sources = state.status?.sources ?? [];
    const names = new Set(sources.map(({ name }) => name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      if (row.element.contains(document.activeElement)) $("source-address").focus();
      row.element.remove();
      this.#rows.delete(name);
    }
    for (const { name, phase } of sources) {
      if (!this.#rows.has(name)) this.#rows.set(name, this.#row(name));
      const { element, dot, remark } = this.#rows.get(name);
      const [word, mood] = WORDS[phase];
      dot.className = `dot ${mood}`;
      say(remark, word);
      if (!element.isConnected) $("sources-list").append(element);
    }
    $("sources-none").hidden = sources.length > 0;
  }

  #row(name) {
    const dot = make("span", { class: "dot" });
    const remark = make("span", { class: "remark" });
    const remove = make("button", {
      type: "button", class: "quiet", "aria-label": `Remove ${name}`,
      onclick: () => this.#remove(name, remove),
      onblur: () => this.#ask(name, remove, false),
    }, "remove");
    const element = make("div", { class: "row" }, dot, make("span", { class: "name" }, name), remark, remove);
    return { element, dot, remark };
  }

  /** A source takes its counts with it, so the button asks once more. */
  #ask(name, button, sure) {
    button.classList.toggle("sure", sure);
    say(button, sure ? "with its counts?" : "remove");
    button.setAttribute("aria-label", sure ? `Remove ${name}, with its counts?` : `Remove ${name}`);
  }

  #remove(name, button) {
    if (!button.classList.contains("sure")) return this.#ask(name, button, true);
    return this.#attempt(button, () => call("DELETE", ofSource(name)));
  }
}
