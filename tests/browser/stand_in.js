// Stands in for the server: a WebSocket that answers what the page asks, and is fed by the test.
const feed = {
  sockets: [],
  channel: "trip:1",
  send(event) {
    for (const socket of feed.sockets) socket.onmessage?.({ data: JSON.stringify(event) });
  },
  stats(payload) {
    feed.seq = (feed.seq ?? 1000) + 1;
    feed.send({ type: "system_stats", channel: "system:stats", seq: feed.seq, epoch: "e", payload });
  },
};

window.WebSocket = class {
  static OPEN = 1;

  constructor() {
    this.readyState = 1;
    feed.sockets.push(this);
    setTimeout(() => this.onopen?.());
  }

  close() {
    feed.sockets = feed.sockets.filter((one) => one !== this);
  }

  answer(event) {
    setTimeout(() => this.onmessage?.({ data: JSON.stringify(event) }));
  }

  send(text) {
    const { type, id, payload } = JSON.parse(text);
    if (type === "auth") {
      this.answer({ success: true, connection_id: "c", heartbeat_ms: 25000 });
    } else if (type === "subscribe") {
      this.answer({ type: "subscribe_response", payload: { success: true, subscribed_channels: payload.channels, failed_channels: [], failures: [] } });
      for (const channel of payload.channels) this.answer({ type: "subscribed", payload: { channel, epoch: "e", seq: 1000 } });
    } else if (type === "request") {
      const before = Array.from({ length: 100 }, (_, second) => ({ ...feed.before, at_ms: feed.before.at_ms - second * 1000 }));
      const events = before.map((one, second) => ({ type: "system_stats", seq: 1000 - second, payload: one }));
      this.answer({ type: "response", payload: { id, result: { events, more: false } } });
    }
  }
};

function made(shards, scale, { silent, trouble = false }) {
  const each = (of) => Array.from({ length: shards }, (_, shard) => of(shard));
  const latency = { count: 3, p50_us: 43, p90_us: 190, p99_us: 2100, p999_us: 52000, max_us: 1e7 };
  return {
    at_ms: Date.now(), interval_ms: 1000, version: "0.1.0", uptime_s: 1e7, state: "serving",
    totals: { connections: scale, sockets: scale, channels: scale, memberships: scale, received_per_s: scale, sent_per_s: scale, received_bytes_per_s: scale * 1000, sent_bytes_per_s: scale * 1000, history_bytes: scale * 1000, rss_bytes: scale * 1000, cpu_cores: 12.5 },
    delivery: latency, handshake: latency,
    shards: each((shard) => ({ cpu: shard, connections: scale, channels: scale, received_per_s: scale, sent_per_s: scale, busy: shard / shards, turn_max_us: 1234567, parks_per_s: scale, history_bytes: scale * 1000, owed_bytes: scale, answering: shard !== silent })),
    mesh: { messages_per_s: each((from) => each((to) => (from === to ? 0 : scale))), depth: each(() => each(() => 3)), full_per_s: 1 },
    slow: { gaps_per_s: 1, paused: 2, closed: 3 }, store: { trouble, queue: scale, commit_p99_ms: 4.5, disk_bytes: scale * 1000 },
    refusals: [{ reason: "rate", total: scale, per_s: scale }], closes: [{ code: 4013, total: scale, per_s: scale }],
    get top_channels() { return [{ channel: feed.channel, members: scale, per_s: scale }]; },
    findings: [{ id: "x".repeat(200), severity: "error", title: "<b>title</b>", remedy: "y".repeat(300) }],
  };
}
