// The demonstration: two connections to one room show order, latency, and what resuming brings back.

import { $, keep, make, on, recall, write } from "./dom.js";
import { SAID_MAX } from "./limits.js";
import { Link } from "./link.js";
import { micros } from "./words.js";

const CHANNEL = "chat:demo";

class Peer {
  constructor(card, token, onEvent) {
    Object.assign(this, { card, position: null, received: 0, joined: false });
    this.link = new Link("/ws/chat/demo", token, {
      hello: () => ({ channels: [CHANNEL], ...(this.position && { resume: [{ channel: CHANNEL, ...this.position }] }) }),
      state: (link) => this.show(link),
      frame: (event) => {
        this.take(event);
        onEvent(this, event);
      },
    });
    this.button = $(".cut", card);
    this.button.onclick = () => (this.link.state === "stopped" ? this.link.open() : this.link.cut());
    this.link.open();
  }

  take(event) {
    if (event.type === "subscribed" && event.payload.channel === CHANNEL) {
      this.joined = true;
      this.position ??= { epoch: event.payload.epoch, seq: event.payload.seq };
    } else if (event.channel === CHANNEL && event.seq !== undefined) {
      this.position = { epoch: event.epoch, seq: event.seq };
      this.received += 1;
      write($(".received", this.card), String(this.received));
      write($(".seq", this.card), String(event.seq));
    }
  }

  show(link) {
    if (link.state !== "open") this.joined = false;
    const line = $(".state", this.card);
    const words = { waiting: `${link.words}, coming back`, stopped: link.code === 4009 ? "another page took its place" : link.words };
    write(line, words[link.state] ?? link.words);
    line.className = `state ${link.state}`;
    write(this.button ?? $(".cut", this.card), link.state === "stopped" ? "Connect again" : "Cut");
  }
}

export class Demo {
  constructor() {
    this.sent = new Map();
    const right = $("#left").cloneNode(true);
    right.id = "right";
    right.ariaLabel = "Connection Two";
    write($("h3", right), "Two");
    $("#left").after(right);
    this.details = $("#demo");
    this.details.open = recall("localStorage", "demo") !== "closed";
    on(this.details, "toggle", () => {
      keep("localStorage", "demo", this.details.open ? "open" : "closed");
      if (this.details.open) this.start(this.token);
      else this.stop();
    });
    on($("#say"), "submit", (submit) => {
      submit.preventDefault();
      const text = $("#text");
      if (text.value.trim() && this.say(text.value)) text.value = "";
      text.focus();
    });
  }

  /** Connects twice, as soon as there is a token and while the part is open. */
  start(token) {
    this.token = token;
    if (!token || !this.details.open || this.peers) return;
    let greeted = false;
    const onEvent = (peer, event) => {
      if (!this.peers) return;
      if (event.type === "chat_message" && event.channel === CHANNEL) this.heard(peer, event);
      if (!greeted && this.peers.every((each) => each.joined)) {
        greeted = true;
        this.say("Hello from One");
      }
    };
    this.peers = ["#left", "#right"].map((card) => new Peer($(card), token, onEvent));
  }

  stop() {
    for (const peer of this.peers ?? []) peer.link.stop();
    this.peers = null;
  }

  say(content) {
    if (!this.peers) return false;
    const id = `${Date.now()}-${Math.random()}`;
    this.sent.set(id, performance.now());
    if (this.sent.size > SAID_MAX) this.sent.delete(this.sent.keys().next().value);
    return this.peers[0].link.send({ type: "chat_message", id, payload: { content } });
  }

  heard(peer, event) {
    const began = this.sent.get(event.op_id);
    const took = began === undefined ? "" : micros(Math.round((performance.now() - began) * 1000));
    if (took) write($(".latency", peer.card), took);
    if (peer !== this.peers[1]) return;
    const log = $("#said");
    log.prepend(make("p", {},
      make("span", { className: "seq", textContent: `#${event.seq}` }), make("bdi", { className: "what", textContent: event.payload.content ?? "" }), make("span", { className: "took", textContent: took })));
    while (log.children.length > SAID_MAX) log.lastChild.remove();
  }
}
