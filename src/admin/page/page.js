// The status page: one connection that reads `system:stats`, and what is shown of it.

import { Demo } from "./demo.js";
import { $, keep, make, on, recall, write } from "./dom.js";
import { Figures } from "./figures.js";
import { BACKFILL_POINTS, BACKFILL_REQUESTS_MAX, STALE_MS } from "./limits.js";
import { Link } from "./link.js";
import { Plots } from "./plots.js";
import { Series } from "./series.js";
import { Matrix, Strips } from "./shards.js";
import { Tail } from "./tail.js";
import { lasting } from "./words.js";

const STATS = "system:stats";
const DRAINING = "The server is draining: it closes its connections, and this page comes back by itself.";

class Page {
  constructor() {
    this.series = new Series();
    this.figures = new Figures((channel) => {
      this.tail.follow(channel);
      $("#follow").scrollIntoView({ block: "nearest" });
    });
    this.plots = new Plots($("#plots"));
    for (const head of document.querySelectorAll("thead th")) head.scope = "col";
    this.strips = new Strips();
    this.matrix = new Matrix();
    this.tail = new Tail((frame) => this.link?.send(frame) ?? false, (channel) => channel === STATS);
    this.demo = new Demo();
    Object.assign(this, { stats: null, arrived: 0, joined: false, said: new Map(), due: false });
    on($("#span"), "change", () => this.redraw());
    on(document, "visibilitychange", () => this.wake());
    addEventListener("online", () => this.wake());
    on($("#token-form"), "submit", (submit) => {
      submit.preventDefault();
      this.use($("#token-input").value.trim());
      $("#token-input").value = "";
    });
    on($("#forget"), "click", () => this.askForToken("Paste another token; the one in use stays until then."));
    on(document, "theme", () => {
      this.drawn = "";
      this.redraw();
    });
    setInterval(() => this.tick(), 1000);
    this.redraw();
  }

  /** Starts anew with a token, which this tab keeps. */
  use(token) {
    keep("sessionStorage", "token", token);
    $("#token").hidden = true;
    $("#forget").hidden = false;
    this.note("token", "");
    this.link?.release();
    this.demo.stop();
    this.link = new Link("/ws", token, { state: (link) => this.onState(link), frame: (event) => this.onFrame(event) });
    this.link.open();
    this.demo.start(token);
  }

  askForToken(why) {
    write($("#token-why"), why);
    $("#token").hidden = false;
    $("#token-input").focus({ preventScroll: true });
  }

  onState(link) {
    if (link.state !== "open") this.joined = false;
    if (link.state === "open") {
      this.note("link", "");
      this.note("draining", "");
      this.link.send({ type: "subscribe", payload: { channels: [STATS] } });
      this.tail.ask();
    } else if (link.state === "stopped") {
      this.stopped(link);
    }
    this.tick();
  }

  stopped({ code, words, refusal }) {
    if (code === 4009) {
      this.note("link", "Stopped: a newer connection of the same user took this one's place.", ["Connect again", () => this.link.open()]);
    } else if (refusal?.code === "TOKEN_EXPIRED" || (code === 4001 && !refusal)) {
      this.askForToken("The token has expired. Paste a new one: waystation token makes one, and waystation serve prints one at its start.");
    } else if (refusal) {
      this.askForToken(`The server does not take this token (${words}). Paste another: waystation serve prints one at its start.`);
    } else {
      this.note("link", `Stopped: the server ${words}.`, ["Connect again", () => this.link.open()]);
    }
  }

  onFrame(event) {
    const { type, payload = {} } = event;
    if (event.channel === STATS && type === "system_stats") this.take(payload);
    else if (type === "subscribe_response") this.answered(payload);
    else if (type === "subscribed" && payload.channel === STATS) this.backfill(event);
    else if (type === "response" && payload.id?.startsWith("history-")) this.filled(payload);
    else if (type === "unsubscribed" && payload.channel === STATS) this.note("right", "This token may no longer read the statistics.");
    else if (type === "draining") this.note("draining", DRAINING);
    else if (type === "token_expiring") this.note("token", "The token ends within a minute.", ["Use another token", () => this.askForToken("Paste a new token.")]);
    this.tail.take(event);
    this.redraw();
  }

  answered(payload) {
    this.tail.answered(payload);
    if (!payload.failed_channels?.includes(STATS)) return;
    const code = payload.failures?.find(({ channel }) => channel === STATS)?.code;
    this.note("right", code === "PERMISSION_DENIED"
      ? `The token is good, but it may not read the statistics: that needs admin, or subscribe on ${STATS}. The demonstration works all the same.`
      : `The statistics cannot be read: ${code ?? "refused"}.`, ["Use another token", () => this.askForToken("Paste a token with admin.")]);
  }

  /** Joined: asks for what was before, the newest first, page by page. */
  backfill() {
    Object.assign(this, { joined: true, joinedAt: Date.now(), pages: 0 });
    this.note("right", "");
    this.ask();
  }

  ask(until) {
    const params = { channel: STATS, limit: BACKFILL_POINTS, reverse: true, ...(until && { until }) };
    this.link.send({ type: "request", id: `history-${this.pages}`, payload: { method: "history", params } });
  }

  filled({ result }) {
    const events = (result?.events ?? []).filter(({ type }) => type === "system_stats");
    let fresh = false;
    for (const { payload } of events) fresh = this.series.keep(payload) || fresh;
    if (!this.stats && events.length) this.stats = events.reduce((a, b) => (a.seq > b.seq ? a : b)).payload;
    const oldest = Math.min(...events.map(({ seq }) => seq));
    this.pages += 1;
    const enough = this.series.points.length >= BACKFILL_POINTS || this.pages >= BACKFILL_REQUESTS_MAX;
    if (result?.more && fresh && !enough && oldest > 1) this.ask(oldest - 1);
  }

  take(stats) {
    this.arrived = Date.now();
    this.stats = stats;
    this.series.keep(stats);
  }

  /** Draws once for whatever came, and not at all while nobody looks. */
  redraw() {
    if (this.due || document.hidden) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.draw();
    });
  }

  draw() {
    const seconds = Number($("input:checked", $("#span")).value);
    this.tail.draw();
    // Each event is drawn once, though other frames come between two.
    const key = `${this.stats?.at_ms} ${seconds} ${this.series.points.length}`;
    if (key === this.drawn) return;
    this.drawn = key;
    this.plots.show(this.series, seconds);
    this.strips.show(this.stats?.shards, this.series, seconds);
    this.matrix.show(this.stats?.mesh);
    this.figures.show(this.stats);
    this.server(this.stats);
  }

  server(stats) {
    write($("#version"), stats?.version ? String(stats.version) : "");
    write($("#server"), stats ? `${stats.state ?? "state not known"}, up ${lasting(stats.uptime_s)}` : "");
    const silent = (stats?.shards ?? []).flatMap(({ answering }, shard) => (answering === false ? [shard] : []));
    this.note("shards", silent.length ? `${silent.length === 1 ? "Shard" : "Shards"} ${silent.join(", ")} ${silent.length === 1 ? "does" : "do"} not answer.` : "");
    this.note("store", stats?.store?.trouble ? "The store writes nothing: durable channels refuse what is new." : "");
    if (stats?.state === "draining") this.note("draining", DRAINING);
  }

  /** Once a second: what time alone changes. */
  tick() {
    const { link } = this;
    if (!link) return;
    link.tick();
    const place = $("#link");
    const left = Math.max(0, Math.ceil((link.again - Date.now()) / 1000));
    const silent = Date.now() - Math.max(this.arrived, this.joinedAt ?? 0);
    const stale = link.state === "open" && this.joined && silent > STALE_MS;
    const open = stale ? `nothing for ${lasting(silent / 1000)}` : this.joined ? "live" : "connected";
    write(place, { open, waiting: `trying again in ${left} s` }[link.state] ?? link.state);
    place.className = `state ${stale ? "waiting" : link.state}`;
    if (link.state === "waiting") {
      this.note("link", `No connection (${link.words}). The page comes back by itself, and the plots go on from there.`, ["Try now", () => link.hurry()]);
    }
    this.note("stale", stale ? "Connected, but no statistics come." : "");
    document.body.classList.toggle("old", link.state !== "open" || stale);
  }

  wake() {
    if (document.hidden) return;
    this.link?.hurry();
    this.redraw();
  }

  /** Says something until it is taken back with an empty text. `act` is a button's label and what it does. */
  note(key, words, act) {
    let place = this.said.get(key);
    if (!words) {
      place?.remove();
      this.said.delete(key);
      return;
    }
    if (!place) {
      place = $("#notices").appendChild(make("p", { className: "notice" }, make("span")));
      this.said.set(key, place);
      if (act) place.append(" ", make("button", { className: "plain", textContent: act[0] }));
    }
    if (act) place.lastChild.onclick = act[1];
    write(place.firstChild, words);
  }
}

// The token stands behind '#', so that no server ever sees it in a request; it leaves the address bar too.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (location.hash) history.replaceState(null, "", location.pathname);
const token = given ?? recall("sessionStorage", "token");
const page = new Page();
if (token) page.use(token);
else {
  page.askForToken($("#token-why").textContent);
  write($("#link"), "no token");
}
