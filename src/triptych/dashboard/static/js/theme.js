// Dark or light: as the system has it, until the button says otherwise.

import { $ } from "./dom.js";
import { state } from "./state.js";

const system = matchMedia("(prefers-color-scheme: light)");

export function followTheme() {
  $("theme").addEventListener("click", () => {
    state.look({ theme: state.dark ? "light" : "dark" });
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}

function apply() {
  const { theme } = state.view;
  state.dark = theme ? theme === "dark" : !system.matches;
  document.documentElement.dataset.theme = state.dark ? "dark" : "light";
  state.emit("theme");
}
