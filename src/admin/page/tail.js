// A channel's events as they come, the newest first: bounded, held on request, text only.

import { $, make, on, say, write } from "./dom.js";
import { TAIL_CHARS_MAX, TAIL_EVENTS_MAX } from "./limits.js";
import { clock, number } from "./words.js";

const WHY = {
  PERMISSION_DENIED: "this token may not subscribe there", INVALID_MESSAGE_FORMAT: "no channel can be called that",
};

export class Tail {
  /** `send` sends a frame, and answers whether it could; `keeps` says which channels the page itself needs. */
  constructor(send, keeps) {
    Object.assign(this, { send, keeps, channel: null, wanted: null, events: [], fresh: [], count: 0, held: 0, paused: false });
    this.list = $("#tail");
    this.pause = $("#tail-pause");
    this.filter = $("#tail-filter");
    on($("#follow"), "submit", (submit) => {
      submit.preventDefault();
      const name = $("#tail-channel").value.trim();
      if (this.channel !== null && name === this.channel) this.leave();
      else if (name) this.follow(name);
    });
    on($("#tail-channel"), "input", () => this.label());
    on(this.pause, "click", () => {
      this.paused = !this.paused;
      this.held = 0;
      this.pause.ariaPressed = String(this.paused);
      this.rebuild();
    });
    on($("#tail-clear"), "click", () => {
      Object.assign(this, { events: [], fresh: [], count: 0, held: 0 });
      this.rebuild();
    });
    on(this.filter, "input", () => this.rebuild());
  }

  follow(name) {
    this.leave();
    Object.assign(this, { channel: name, events: [], fresh: [], count: 0, held: 0 });
    $("#tail-channel").value = name;
    this.say(`Asking for ${name} …`);
    if (!this.ask()) this.say(`Not connected: ${name} is followed as soon as the connection is back.`);
    this.label();
    this.rebuild();
  }

  leave() {
    if (this.channel === null) return;
    if (!this.keeps(this.channel)) this.send({ type: "unsubscribe", payload: { channels: [this.channel] } });
    this.say(`No longer following ${this.channel}.`);
    this.channel = null;
    this.joined = false;
    this.label();
  }

  /** Subscribes, also after the connection was made anew. */
  ask() {
    this.joined = this.channel !== null && this.keeps(this.channel);
    if (this.channel === null || this.joined) return true;
    return this.send({ type: "subscribe", payload: { channels: [this.channel] } });
  }

  /** The answer to a subscribe: whether the channel is among the refused. */
  answered({ failures = [], failed_channels: failed = [] }) {
    const name = this.channel;
    if (name === null || !failed.includes(name)) return;
    const code = failures.find((failure) => failure.channel === name)?.code;
    this.channel = null;
    this.label();
    this.say(`${name} cannot be followed: ${WHY[code] ?? code ?? "refused"}.`);
    say($("#tail-state").textContent);
  }

  take(event) {
    if (this.channel === null) return;
    const about = event.payload?.channel === this.channel;
    if (event.type === "subscribed" && about) {
      this.joined = true;
      say(`Following ${this.channel}`);
    }
    if (event.channel !== this.channel && !(about && (event.type === "gap" || event.type === "unsubscribed"))) return;
    const text = JSON.stringify(event.payload ?? {});
    const shown = text.length > TAIL_CHARS_MAX ? `${text.slice(0, TAIL_CHARS_MAX)} … ${number(text.length)} characters` : text;
    this.count += 1;
    if (this.paused) {
      this.held += 1;
      return;
    }
    this.fresh.push({ at: event.timestamp ? Date.parse(event.timestamp) : Date.now(), seq: event.seq, type: String(event.type ?? ""), user: event.user_id ?? "", text: shown });
    if (this.fresh.length > TAIL_EVENTS_MAX) this.fresh.shift();
  }

  matches({ type, user, text }) {
    const part = this.filter.value.trim().toLowerCase();
    return part === "" || `${type} ${user} ${text}`.toLowerCase().includes(part);
  }

  /** Shows what came since the last drawing. */
  draw() {
    this.status();
    if (this.fresh.length === 0) return;
    this.events.push(...this.fresh);
    this.events.splice(0, this.events.length - TAIL_EVENTS_MAX);
    const lines = this.fresh.filter((event) => this.matches(event)).map(line).reverse();
    this.fresh = [];
    this.list.prepend(...lines);
    while (this.list.children.length > TAIL_EVENTS_MAX) this.list.lastChild.remove();
  }

  rebuild() {
    const all = [...this.events, ...this.fresh].slice(-TAIL_EVENTS_MAX);
    Object.assign(this, { events: all, fresh: [] });
    this.list.replaceChildren(...all.filter((event) => this.matches(event)).map(line).reverse());
    this.list.hidden = this.channel === null && all.length === 0;
    $("#tail-clear").disabled = this.pause.disabled = this.list.hidden;
    this.status();
  }

  status() {
    if (this.channel === null || !this.joined) return;
    const held = this.paused ? `, paused: ${number(this.held)} passed by` : "";
    this.say(`Following ${this.channel}: ${number(this.count)} ${this.count === 1 ? "event" : "events"}${held}${this.count > TAIL_EVENTS_MAX ? `, the last ${TAIL_EVENTS_MAX} are kept` : ""}.`);
  }

  label() {
    write($("#tail-go"), this.channel !== null && $("#tail-channel").value.trim() === this.channel ? "Stop" : "Follow");
  }

  say(words) {
    write($("#tail-state"), words);
  }
}

function line({ at, seq, type, user, text }) {
  return make("li", {},
    make("time", { textContent: clock(at) }), make("span", { className: "seq", textContent: seq === undefined ? "" : `#${seq}` }),
    make("bdi", { className: "type", textContent: type }), make("bdi", { className: "who", textContent: user }), make("bdi", { className: "what", textContent: text }));
}
