// The numbers of now: the line at the top, and the tables of what goes wrong and where most happens.

import { $, fill, fillOrSay, make, write } from "./dom.js";
import { CLOSES, REFUSALS, UNKNOWN, axis, bytes, micros, number } from "./words.js";

/** A time of how many: of none there is none. */
const time = ({ count, p50_us: half }) => (count === 0 ? "none" : micros(half));
const most = ({ count, p99_us: most }) => (count === 0 ? "in this second" : `99 % within ${micros(most)}`);
const commit = ({ trouble, commit_p99_ms: ms }) => (trouble ? "trouble" : ms === undefined ? "none" : micros(ms * 1000));
const kept = ({ queue, disk_bytes: disk }) => (queue === undefined ? "no store" : `${bytes(disk)}, ${axis(queue)} waiting`);

/** The numbers at the top: each with what stands below it. */
const HEADLINE = [
  ["connections", (t) => number(t.connections), (t) => `${number(t.sockets)} sockets`],
  ["channels", (t) => number(t.channels), (t) => `${number(t.memberships)} members`],
  ["in / s", (t) => number(t.received_per_s), (t) => `${bytes(t.received_bytes_per_s)} / s`],
  ["out / s", (t) => number(t.sent_per_s), (t) => `${bytes(t.sent_bytes_per_s)} / s`],
  ["delivery, half within", (t) => time(t.delivery), (t) => most(t.delivery)],
  ["handshake, half within", (t) => time(t.handshake), (t) => most(t.handshake)],
  ["commit, 99 % within", (t) => commit(t.store), (t) => kept(t.store)],
  ["processors", (t) => (typeof t.cpu_cores === "number" ? t.cpu_cores.toFixed(2) : UNKNOWN), (t) => `${t.shards.length} ${t.shards.length === 1 ? "shard" : "shards"}`],
  ["memory", (t) => bytes(t.rss_bytes), (t) => `${bytes(t.history_bytes)} history`],
];

const SEVERITIES = ["note", "warning", "error"];

/** An event whose parts may all be absent. */
const whole = (stats) => ({ totals: {}, delivery: {}, handshake: {}, shards: [], slow: {}, store: {}, mesh: {}, ...stats });

export class Figures {
  constructor(follow) {
    this.follow = follow;
    this.numbers = HEADLINE.map(([name]) => {
      const [value, below] = [make("dd", { textContent: "–" }), make("dd", { className: "quiet", textContent: " " })];
      $("#numbers").append(make("div", {}, make("dt", { textContent: name }), value, below));
      return [value, below];
    });
  }

  show(given) {
    const stats = whole(given);
    const all = { ...stats.totals, ...stats };
    HEADLINE.forEach(([, value, below], index) => {
      const shown = value(all);
      const [place, under] = this.numbers[index];
      place.classList.toggle("unknown", shown === UNKNOWN || shown === "none");
      place.classList.toggle("bad", shown === "trouble");
      write(place, shown);
      write(under, below(all).replaceAll(UNKNOWN, "?"));
    });
    this.channels(stats.top_channels);
    for (const [id, rows, words, none] of [
      ["#refusals", stats.refusals, REFUSALS, "Nothing was refused since the start."],
      ["#closes", stats.closes, CLOSES, "No connection was closed since the start."],
    ]) {
      fillOrSay($(id), (rows ?? []).map(({ reason, code = reason, total, per_s }) => [
        { head: true, text: String(code), note: words[code] ?? "" }, { text: number(per_s), of: reason && per_s > 0 ? "warn" : "" }, number(total),
      ]), rows ? none : UNKNOWN);
    }
    const { slow, mesh } = stats;
    fill($("#slow").tBodies[0], [
      ["gaps told / s", slow.gaps_per_s], ["paused now", slow.paused], ["closed for it, since the start", slow.closed], ["full queues between shards / s", mesh.full_per_s],
    ].map(([text, value]) => [{ head: true, text }, { text: number(value), of: value > 0 ? "warn" : "" }]));
    this.findings(stats.findings);
  }

  channels(top) {
    const table = $("#top");
    // Rows that move under a pointer or a finger would have the wrong channel followed.
    if (table.matches(":hover, :focus-within")) return;
    fillOrSay(table, (top ?? []).map(({ channel, members, per_s }) => [
      { head: true, name: true, text: String(channel), act: () => this.follow(String(channel)) }, number(members), number(per_s),
    ]), top ? "No channel is busy now." : UNKNOWN);
  }

  findings(all) {
    const key = JSON.stringify(all ?? null);
    if (key === this.told) return;
    this.told = key;
    const list = $("#findings");
    const worst = (a, b) => SEVERITIES.indexOf(b.severity) - SEVERITIES.indexOf(a.severity);
    list.replaceChildren(...(all ?? []).toSorted(worst).map(({ id, severity, title, remedy }) => make("li", {},
      make("span", { className: `severity ${severity === "error" ? "bad" : severity === "warning" ? "warn" : ""}`, textContent: String(severity) }),
      make("div", {}, make("p", { textContent: String(title ?? id) }), make("p", { className: "quiet", textContent: String(remedy ?? "") })))));
    list.hidden = !all?.length;
    list.nextElementSibling.hidden = !list.hidden;
    write(list.nextElementSibling, all ? "Nothing: this host is set up as it should be." : "Not known.");
  }
}
