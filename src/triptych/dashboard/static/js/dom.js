// Small helpers for making and changing elements. Text is always set as text, never as markup.

/** An element with properties, attributes (`data-`, `aria-`, `role` ...) and children. */
export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "swatch") element.style.setProperty("--swatch", value);
    else if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const $ = (id) => document.getElementById(id);

/** Set a text, and touch the page only if it is another one. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";

/** A 16 x 16 drawing of one path. */
export function drawing(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const whole = (n) => n.toLocaleString("en");
export const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)}%`;
export const milliseconds = (s) =>
  s >= 9.995 ? `${s.toFixed(0)} s` : s >= 0.9995 ? `${s.toFixed(1)} s` : `${(1000 * s).toFixed(s < 0.00995 ? 1 : 0)} ms`;

/** A length of time, roughly: "40 s", "12 min", "3 h", "5 d". */
export function roughly(seconds) {
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return `${Math.floor(seconds)} s`;
}
