// One connection to the server that is made again when it is lost, unless the server said to stay away.

import { BACKOFF_MAX_MS, BACKOFF_MS, SILENCE_END_MS, SILENCE_MS } from "./limits.js";
import { CLOSES } from "./words.js";

/** Close codes after which coming back would end the same way. */
const FINAL = new Set([1000, 1002, 1003, 1007, 1008, 1009, 4000, 4001, 4003, 4009]);

export class Link {
  /**
   * `hooks.hello()` adds to the first frame; `hooks.frame(event)` takes what comes; `hooks.state(link)` is told of each
   * change of `state`: `connecting`, `open`, `waiting` (until `again`), `stopped`; `words` says why.
   */
  constructor(path, token, hooks) {
    Object.assign(this, { path, token, hooks, failures: 0, state: "stopped", words: "", code: 0 });
  }

  open() {
    this.release();
    this.refusal = null;
    this.after = 0;
    this.heard = Date.now();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}${this.path}`);
    this.socket = socket;
    socket.onopen = () => {
      const client = { name: "waystation-page", version: "2" };
      socket.send(JSON.stringify({ type: "auth", token: this.token, client, ...this.hooks.hello?.() }));
    };
    socket.onmessage = (message) => this.take(message.data);
    socket.onclose = (close) => this.lost(close.code, close.reason);
    this.become("connecting", "connecting");
  }

  take(data) {
    this.heard = Date.now();
    const event = JSON.parse(data);
    if (event.success === false) {
      this.refusal = event;
    } else if (event.success === true && this.state !== "open") {
      this.failures = 0;
      this.become("open", "connected");
    } else if (event.type === "draining") {
      this.after = event.payload?.reconnect_after_ms ?? 0;
    }
    this.hooks.frame(event);
  }

  lost(code, reason) {
    this.code = code;
    const why = this.refusal?.error || reason || CLOSES[code] || "no reason given";
    if (this.refusal || FINAL.has(code)) {
      this.release();
      this.become("stopped", `closed (${code}): ${why}`);
      return;
    }
    const longest = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** this.failures);
    this.failures += 1;
    // Half of it by chance, so that pages which lost one server do not come back as one.
    const wait = this.after + longest * (0.5 + Math.random() / 2);
    this.again = Date.now() + wait;
    this.release();
    this.timer = setTimeout(() => this.open(), wait);
    this.become("waiting", code === 1006 ? "connection lost" : `closed (${code}): ${why}`);
  }

  /** Once a second: a connection that went silent is asked, and at last given up. */
  tick() {
    if (this.state !== "open") return;
    const silent = Date.now() - this.heard;
    if (silent > SILENCE_END_MS && this.asked) this.lost(1006, "");
    else if (silent > SILENCE_MS && !this.asked) this.asked = this.send({ type: "heartbeat" });
    else if (silent < SILENCE_MS) this.asked = false;
  }

  send(frame) {
    if (this.state !== "open" || this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** Connects at once if it would do so later anyway. */
  hurry() {
    if (this.state === "waiting") this.open();
  }

  /** Ends it for good. */
  stop() {
    this.release();
    this.become("stopped", "closed");
  }

  /** Cuts it as a lost network would, for who wants to see it come back. */
  cut() {
    if (this.state === "open") this.lost(1006, "");
  }

  /** Lets go of the socket: nothing that it still says is heard. */
  release() {
    clearTimeout(this.timer);
    if (!this.socket) return;
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket.close(1000);
    this.socket = null;
    this.asked = false;
  }

  become(state, words) {
    Object.assign(this, { state, words });
    this.hooks.state(this);
  }
}
