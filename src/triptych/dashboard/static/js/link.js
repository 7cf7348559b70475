// The connection to the server: a WebSocket that comes back by itself.

import { unpack } from "./wire.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;
const SILENCE = 6000; // figures come every second; without any for so long, the link is dead

/** Calls `handlers.message(object)`, `.frame(frame)` and `.link(phase, wait)`. */
export class Link {
  #socket = null;
  #handlers;
  #wait = FIRST_WAIT;
  #failures = 0;
  #wanted = null;
  #newest = null; // the frame that waits while another is being decoded
  #decoding = false;
  #heard = 0;
  #got = 0;

  constructor(handlers) {
    this.#handlers = handlers;
    setInterval(() => this.#watch(), 1000);
  }

  open() {
    const url = new URL("ws", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.#handlers.link("connecting");
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#heard = performance.now();
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => {
      this.#wait = FIRST_WAIT;
      this.#failures = 0;
      this.#got = 0;
      this.#handlers.link("open");
      this.#ask();
    });
    socket.addEventListener("message", ({ data }) => {
      this.#heard = performance.now();
      if (typeof data === "string") this.#handlers.message(JSON.parse(data));
      else this.#arrived(data);
    });
    socket.addEventListener("close", ({ code, reason }) => this.#lost(socket, code, reason));
  }

  /** Ask for the frames of a source; null for none. `held` freezes its newest frame. */
  want(source, held = false) {
    this.#wanted = source === null ? null : { source, held };
    this.#ask();
  }

  #ask() {
    const { source = null, held = false } = this.#wanted ?? {};
    this.#send({ watch: source, held });
  }

  #send(object) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(object));
  }

  async #arrived(data) {
    this.#newest = data;
    this.#got += 1;
    if (this.#decoding) return;
    this.#decoding = true;
    while (this.#newest) {
      const buffer = this.#newest;
      this.#newest = null;
      try {
        const frame = unpack(buffer);
        frame.camera = await createImageBitmap(frame.blobs.camera);
        this.#handlers.frame(frame);
      } catch (error) {
        console.error("a frame could not be shown:", error);
      }
      // The server sends on only now: a slow browser gets fewer frames, not older ones.
      this.#send({ seen: this.#got });
    }
    this.#decoding = false;
  }

  #watch() {
    if (this.#socket?.readyState === WebSocket.OPEN && performance.now() - this.#heard > SILENCE) {
      this.#lost(this.#socket, 4000, "the server went silent");
    }
  }

  #lost(socket, code, reason) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    socket.close();
    this.#failures += 1;
    this.#handlers.link("closed", { code, reason, wait: this.#wait, failures: this.#failures });
    setTimeout(() => this.open(), this.#wait);
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT);
  }
}
