// What the parts of the page share. Whoever changes something says so with an event:
// "hello", "source", "status", "frame", "view", "follow", "layout", "link".

const KEY = "triptych.view";
const DEFAULTS = {
  opacity: 0.55,
  outlines: true,
  names: true,
  shapes: true,
  hidden: [],
  theme: "",
  span: "minutes",
};

class State extends EventTarget {
  hello = null;
  sources = [];
  source = null; // name of the one that is shown
  status = null; // figures of all sources, once a second
  frame = null; // {header, blobs, camera}
  layout = { lines: [], zones: [] };
  followed = null; // number of an object
  view = { ...DEFAULTS, ...stored() };

  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  on(names, listener) {
    for (const name of names.split(" ")) this.addEventListener(name, () => listener());
  }

  /** Change what this page shows, and remember it. */
  look(changes) {
    Object.assign(this.view, changes);
    try {
      localStorage.setItem(KEY, JSON.stringify(this.view));
    } catch {
      // Storage may be forbidden or full: the view then lasts as long as the page.
    }
    this.emit("view");
  }

  follow(track) {
    this.followed = track === this.followed ? null : track;
    this.emit("follow");
  }

  /** Of the frame that is shown: since then the classes may have been regrouped. */
  get classes() {
    return this.frame?.header.classes ?? this.hello.classes;
  }

  shows(classId) {
    return !this.view.hidden.includes(this.classes[classId].name);
  }

  /** Figures of the source that is shown. */
  get figures() {
    return this.status?.sources.find((source) => source.name === this.source) ?? null;
  }
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

export const state = new State();
