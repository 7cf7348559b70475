// Puts the page together.

import { call, ofSource } from "./api.js";
import { Charts } from "./charts.js";
import { Classes } from "./classes.js";
import { $, make, say } from "./dom.js";
import { Drawer } from "./drawer.js";
import { Fallback } from "./fallback.js";
import { GroupDialog } from "./groups.js";
import { Health, WORDS } from "./health.js";
import { Link } from "./link.js";
import { Notices } from "./notices.js";
import { Objects } from "./objects.js";
import { Panel } from "./panel.js";
import { ShapeList } from "./shapes.js";
import { saveSnapshot } from "./snapshot.js";
import { SourceDialog } from "./sources.js";
import { state } from "./state.js";
import { Thresholds, viewControls } from "./sliders.js";
import { followTheme } from "./theme.js";

const notices = new Notices();
const complain = (text) => notices.say("action", text, { seconds: 8 });
const drawer = new Drawer(saveLayout, drawing);
const panels = ["semantic", "instances", "panoptic"].map((kind) => new Panel(kind, drawer));
let held = false;
let shownLayout = -1; // revision of the layout on the page
let coming = null; // name of a source that was added here and has not been heard of yet

$("panels").append(...panels.map((panel) => panel.element));
followTheme();
new Classes();
new Objects();
new Health();
new Charts(complain);
new ShapeList(saveLayout);
new Thresholds(complain);
viewControls();
const groups = new GroupDialog();
const dialog = new SourceDialog((name) => (coming = name));

const fallback = new Fallback(panels, {
  greet,
  figures,
  changed(active) {
    document.body.classList.toggle("plain", active);
    notices.say("link", active ? PLAIN : "");
  },
});
const PLAIN =
  "No WebSocket gets through (a proxy may stop it): plain pictures from the server, without hovering, drawing and view settings.";

const link = new Link({
  message(message) {
    if (message.type === "hello") greet(message);
    else if (message.type === "status") figures(message);
  },
  frame(frame) {
    if (frame.header.source !== state.source) return;
    state.frame?.camera.close();
    state.frame = frame;
    $("panels").style.setProperty("--ratio", `${frame.header.width} / ${frame.header.height}`);
    redraw();
    state.emit("frame");
  },
  link: connection,
});
link.open();

function redraw() {
  for (const panel of panels) panel.draw();
}
state.on("view follow layout", redraw);

// ---- sources -------------------------------------------------------------------------------

function greet(hello) {
  state.hello = hello;
  state.emit("hello");
}

/** The classes were changed, and no WebSocket said so. */
async function greetAgain() {
  try {
    greet(await call("GET", "api/model"));
  } catch (error) {
    complain(`The classes were not loaded: ${error.message}.`);
  }
}

function figures(status) {
  state.status = status;
  if (fallback.active && status.groups_revision !== state.hello.groups_revision) greetAgain();
  const names = status.sources.map(({ name }) => name);
  if (names.includes(coming)) {
    choose(coming);
    coming = null;
  }
  if (!names.includes(state.source)) choose(names.includes(remembered()) ? remembered() : names[0] ?? null);
  tabs(status.sources);
  health();
  loadLayout();
  state.emit("status");
}

const remembered = () => decodeURIComponent(location.hash.slice(1));

function choose(name) {
  state.source = name;
  state.followed = null;
  state.frame?.camera.close();
  state.frame = null;
  state.layout = { lines: [], zones: [] };
  shownLayout = -1;
  if (name !== null) history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  for (const panel of panels) panel.clear(name === null ? "no source" : "waiting for the first frame");
  hold(false);
  $("csv").href = ofSource(name ?? "", "/history.csv");
  $("jsonl").href = ofSource(name ?? "", "/history.jsonl");
  state.emit("source");
}

function tabs(sources) {
  const place = $("sources");
  while (place.children.length > sources.length) place.lastChild.remove();
  sources.forEach(({ name, phase }, i) => {
    const tab =
      place.children[i] ??
      place.appendChild(
        make("button", { onclick: () => pick(i) }, make("span", { class: "dot" }), make("span")),
      );
    const [word, mood] = WORDS[phase];
    tab.title = `${name}: ${word}`;
    tab.firstChild.className = `dot ${mood}`;
    say(tab.lastChild, name);
    tab.setAttribute("aria-current", String(name === state.source));
  });
}

function pick(index) {
  const { sources } = state.status;
  const wanted = sources[(index + sources.length) % sources.length];
  if (!wanted || wanted.name === state.source) return;
  choose(wanted.name);
  tabs(sources);
  health();
  state.emit("status");
}

/** What is wrong with the source, in words. */
function health() {
  const source = state.figures;
  const [word] = source ? WORDS[source.phase] : [""];
  const lost = source && ["stalled", "waiting", "failed"].includes(source.phase);
  const bad = lost || (source?.phase === "ended" && source.message);
  const spoilt = source?.recording?.problem;
  notices.say("recording", spoilt ? `The recording stopped: ${spoilt}` : "", { bad: true });
  notices.say("source", bad ? `${source.name}: ${word}${source.message ? ` (${source.message})` : ""}` : "", { bad: true });
  const badge = held ? "paused on this page" : source && source.phase !== "running" ? word : "";
  for (const panel of panels) panel.badge = badge;
  $("film").hidden = !source?.film || ["ended", "failed"].includes(source.phase);
  $("film").setAttribute("aria-pressed", String(Boolean(source?.paused)));
  say($("film").querySelector("span"), source?.paused ? "Start film" : "Stop film");
  $("restart").hidden = !source?.film;
  const recording = source?.recording?.running ? source.recording : null;
  $("record").hidden = !state.hello.can_record;
  $("record").setAttribute("aria-pressed", String(recording !== null));
  say($("record").querySelector("span"), recording === null ? "Record" : clock(recording.seconds));
}

const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

// ---- the connection ------------------------------------------------------------------------

function connection(phase, detail = {}) {
  const [dot, text] = $("link").children;
  dot.className = `dot ${phase === "open" ? "good" : phase === "closed" ? "bad" : "warn"}`;
  if (fallback.active && phase !== "open") {
    dot.className = "dot warn";
    say(text, "pictures only");
  } else say(text, phase === "open" ? "live" : phase === "closed" ? "not connected" : "connecting");
  if (phase === "open") {
    fallback.stop();
    notices.say("link", "");
  } else if (phase === "closed" && !fallback.active) {
    notices.say("link", `${detail.reason || "The server does not answer"}; trying again. What you see is old.`, { bad: true });
    // This also finds out whether the token is asked for again: a refused socket does not tell.
    if (detail.failures > 1) fallback.start();
  }
}

document.addEventListener("visibilitychange", () => {
  // Nobody looks: the server need not draw.
  link.want(document.hidden ? null : state.source, held);
});

// ---- controls ------------------------------------------------------------------------------

function hold(wanted) {
  held = wanted;
  $("pause").setAttribute("aria-pressed", String(held));
  say($("pause").querySelector("span"), held ? "Go on" : "Pause");
  link.want(state.source, held);
  health();
}

function drawing(hint) {
  notices.say("drawing", hint);
  for (const panel of panels) panel.element.classList.toggle("drawing", drawer.active);
  redraw();
}

function startDrawing(kind) {
  if (!state.frame) return complain("There is no picture to draw on yet.");
  state.look({ shapes: true });
  drawer.start(kind);
  const near = panels.find(({ element }) => element.contains(document.activeElement));
  (near ?? panels[1]).focus();
}

async function loadLayout() {
  const revision = state.figures?.layout_revision;
  if (revision === undefined || revision === shownLayout) return;
  shownLayout = revision;
  try {
    state.layout = await call("GET", ofSource(state.source, "/layout"));
    state.emit("layout");
  } catch (error) {
    complain(`Lines and zones were not loaded: ${error.message}.`);
  }
}

async function saveLayout(layout) {
  try {
    state.layout = await call("PUT", ofSource(state.source, "/layout"), layout);
  } catch (error) {
    complain(`Not saved: ${error.message}.`);
  }
  state.emit("layout");
}

async function record() {
  const on = !state.figures?.recording?.running;
  try {
    const { files } = await call("POST", ofSource(state.source, "/recording"), { on });
    if (!on) notices.say("action", `Recorded into ${files.join(", ") || "nothing: no frame came"}.`, { seconds: 12 });
  } catch (error) {
    complain(`Recording: ${error.message}.`);
  }
}

async function film(action) {
  if ($(action).hidden) return;
  const { name, paused } = state.figures;
  try {
    if (action === "film") await call("PATCH", ofSource(name), { paused: !paused });
    else await call("POST", ofSource(name, "/restart"));
  } catch (error) {
    complain(`${name}: ${error.message}.`);
  }
}

function snapshot() {
  if (state.frame) saveSnapshot(panels, state.source);
}

$("pause").addEventListener("click", () => hold(!held));
$("film").addEventListener("click", () => film("film"));
$("restart").addEventListener("click", () => film("restart"));
$("snapshot").addEventListener("click", snapshot);
$("record").addEventListener("click", record);
$("help").addEventListener("click", () => $("keys").showModal());
$("add-line").addEventListener("click", () => startDrawing("line"));
$("add-zone").addEventListener("click", () => startDrawing("zone"));

const KEYS = {
  " ": () => hold(!held),
  s: snapshot,
  p: () => film("film"),
  r: () => film("restart"),
  a: () => dialog.open(),
  g: () => groups.open(),
  l: () => startDrawing("line"),
  z: () => startDrawing("zone"),
  1: () => panels[0].toggleFull(),
  2: () => panels[1].toggleFull(),
  3: () => panels[2].toggleFull(),
  "[": () => pick(place() - 1),
  "]": () => pick(place() + 1),
  "?": () => $("keys").showModal(),
  Escape: () => state.followed !== null && state.follow(state.followed),
};
const place = () => state.status.sources.findIndex(({ name }) => name === state.source);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input[type=text]")) return;
  const action = drawer.key(event) ? () => {} : KEYS[event.key];
  // The space bar presses the button that has the focus.
  if (!action || (event.key === " " && event.target.matches("button, a, input"))) return;
  event.preventDefault();
  action();
});
