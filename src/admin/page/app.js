// Two connections to one room. Shows order, latency, and what resuming brings back.

const LOG_LINES_MAX = 200;
const BACKOFF_MS = [250, 500, 1000, 2000, 4000];
const CHANNEL = "chat:demo";

const $ = (selector, within = document) => within.querySelector(selector);

/** One connection and the card that shows it. */
class Peer {
  constructor(card, token, onEvent) {
    this.card = card;
    this.token = token;
    this.onEvent = onEvent;
    this.position = null;
    this.received = 0;
    this.failures = 0;
    this.welcome = false;
    this.joined = false;
    $(".cut", card).addEventListener("click", () => this.cut());
    this.open();
  }

  open() {
    this.show("connecting", "");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws/chat/demo`);
    this.socket = socket;
    socket.addEventListener("open", () => {
      const frame = { type: "auth", token: this.token, channels: [CHANNEL], client: { name: "waystation-page", version: "1" } };
      if (this.position) frame.resume = [{ channel: CHANNEL, ...this.position }];
      socket.send(JSON.stringify(frame));
    });
    socket.addEventListener("message", (message) => this.take(JSON.parse(message.data)));
    socket.addEventListener("close", (close) => this.lost(close));
  }

  take(event) {
    if (event.success === false) {
      this.refused = event.error ?? event.code;
    } else if (event.success === true) {
      this.welcome = true;
      this.failures = 0;
      this.show("connected", "open");
    } else if (event.type === "subscribed" && event.payload.channel === CHANNEL) {
      this.joined = true;
      this.position ??= { epoch: event.payload.epoch, seq: event.payload.seq };
    } else if (event.channel === CHANNEL && event.seq !== undefined) {
      this.position = { epoch: event.epoch, seq: event.seq };
      this.received += 1;
      $(".received", this.card).textContent = this.received;
      $(".seq", this.card).textContent = event.seq;
    }
    this.onEvent(this, event);
  }

  lost(close) {
    const why = this.refused ?? close.reason;
    this.welcome = false;
    this.joined = false;
    if (this.refused || close.code === 1008 || close.code === 4001 || close.code === 4003) {
      this.show(`refused: ${why || close.code}`, "closed");
      $("#token").hidden = false;
      return;
    }
    const wait = BACKOFF_MS[Math.min(this.failures, BACKOFF_MS.length - 1)] * (0.5 + Math.random() / 2);
    this.failures += 1;
    this.show(`closed (${close.code}), connecting again`, "closed");
    setTimeout(() => this.open(), wait);
  }

  send(frame) {
    if (!this.welcome || this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  cut() {
    this.socket.close(1000, "cut by hand");
  }

  latency(ms) {
    $(".latency", this.card).textContent = `${ms.toFixed(1)} ms`;
  }

  show(text, state) {
    const line = $(".state", this.card);
    line.textContent = text;
    line.className = `state ${state}`;
  }
}

/** When each of our own messages was sent, by its text and number. */
const sent = new Map();

function write(event, took) {
  const line = document.createElement("li");
  const cells = { seq: `#${event.seq}`, said: event.payload.content ?? "", took: took === undefined ? "" : `${took.toFixed(1)} ms` };
  for (const [name, text] of Object.entries(cells)) {
    const cell = document.createElement("span");
    cell.className = name;
    cell.textContent = text;
    line.append(cell);
  }
  const log = $("#log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(line);
  while (log.children.length > LOG_LINES_MAX) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function start(token) {
  $("#token").hidden = true;
  let greeted = false;
  const onEvent = (peer, event) => {
    if (event.type === "chat_message" && event.channel === CHANNEL) {
      const began = sent.get(event.op_id);
      const took = began === undefined ? undefined : performance.now() - began;
      if (took !== undefined) peer.latency(took);
      if (peer === right) write(event, took);
    }
    if (!greeted && left.joined && right.joined) {
      greeted = true;
      say("Hello from One");
    }
  };
  const left = new Peer($("#left"), token, onEvent);
  const right = new Peer($("#right"), token, onEvent);
  const say = (content) => {
    const id = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    sent.set(id, performance.now());
    if (sent.size > LOG_LINES_MAX) sent.delete(sent.keys().next().value);
    return left.send({ type: "chat_message", id, payload: { content } });
  };
  $("#say").addEventListener("submit", (submit) => {
    submit.preventDefault();
    const text = $("#text");
    if (text.value.trim() && say(text.value)) text.value = "";
    text.focus();
  });
}

// The token stands behind '#', so that no server ever sees it in a request; it leaves the address bar too.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
history.replaceState(null, "", location.pathname);
const kept = given ?? sessionStorage.getItem("token");
$("#token-form").addEventListener("submit", (submit) => {
  submit.preventDefault();
  sessionStorage.setItem("token", $("#token-input").value.trim());
  location.reload();
});
if (kept) {
  sessionStorage.setItem("token", kept);
  start(kept);
} else {
  $("#token").hidden = false;
}
