// The numbers of now: the line at the top, and the tables of what goes wrong and where most happens.

import { $, fill, fillOrSay, make, write } from "./dom.js";
import { CLOSES, REFUSALS, UNKNOWN, bytes, micros, number } from "./words.js";

/** A time of how many: of none there is none. */
const time = ({ count, p50_us: half }) => (count === 0 ? "none" : micros(half));
const most = ({ count, p99_us: most }) => (count === 0 ? "in this second" : `99 % within ${micros(most)}`);

/** The numbers at the top: each with what stands below it. */
const HEADLINE = [
  ["connections", ({ totals }) => number(totals.connections), ({ totals }) => `${number(totals.sockets)} sockets`],
  ["channels", ({ totals }) => number(totals.channels), ({ totals }) => `${number(totals.memberships)} members`],
  ["in / s", ({ totals }) => number(totals.received_per_s), ({ totals }) => `${bytes(totals.received_bytes_per_s)} / s`],
  ["out / s", ({ totals }) => number(totals.sent_per_s), ({ totals }) => `${bytes(totals.sent_bytes_per_s)} / s`],
  ["delivery, half within", ({ delivery }) => time(delivery), ({ delivery }) => most(delivery)],
  ["handshake, half within", ({ handshake }) => time(handshake), ({ handshake }) => most(handshake)],
  ["processors", ({ totals }) => (typeof totals.cpu_cores === "number" ? totals.cpu_cores.toFixed(2) : UNKNOWN), ({ shards }) => `${shards.length} ${shards.length === 1 ? "shard" : "shards"}`],
  ["memory", ({ totals }) => bytes(totals.rss_bytes), ({ totals }) => `${bytes(totals.history_bytes)} history`],
];

const SEVERITIES = ["note", "warning", "error"];

/** An event whose parts may all be absent. */
const whole = (stats) => ({ totals: {}, delivery: {}, handshake: {}, shards: [], slow: {}, mesh: {}, ...stats });

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
    HEADLINE.forEach(([, value, below], index) => {
      const shown = value(stats);
      this.numbers[index][0].classList.toggle("unknown", shown === UNKNOWN || shown === "none");
      write(this.numbers[index][0], shown);
      write(this.numbers[index][1], below(stats).replaceAll(UNKNOWN, "?"));
    });
    this.channels(stats.top_channels);
    fillOrSay($("#refusals"), (stats.refusals ?? []).map(({ reason, total, per_s }) => [
      { head: true, text: String(reason), note: REFUSALS[reason] ?? "" }, { text: number(per_s), of: per_s > 0 ? "warn" : "" }, number(total),
    ]), stats.refusals ? "Nothing was refused since the start." : UNKNOWN);
    fillOrSay($("#closes"), (stats.closes ?? []).map(({ code, reason, total, per_s }) => [
      { head: true, text: String(code ?? reason), note: CLOSES[code] ?? "" }, number(per_s), number(total),
    ]), stats.closes ? "No connection was closed since the start." : UNKNOWN);
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
