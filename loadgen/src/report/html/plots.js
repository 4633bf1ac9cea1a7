"use strict";
// Draws the plots from the data beside it. Every plot has a table as well, so nothing is lost without this script.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let drawn = [];

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const short = (value, unit) => `${Number(value.toPrecision(3))}${unit}`;
  // A bare mark of an axis, and the same with its unit in the legend.
  const ms = (v) => (v == null ? "" : v >= 1000 ? short(v / 1000, " s") : v >= 1 ? short(v, " ms") : short(v * 1000, " us"));
  const count = (v) =>
    v == null ? "" : Math.abs(v) >= 1e6 ? short(v / 1e6, "M") : Math.abs(v) >= 1e4 ? short(v / 1e3, "k") : short(v, "");
  const percent = (v) => (v == null ? "" : `${Math.round(v)} %`);
  const mebi = (v) => (v == null ? "" : short(v, " MiB"));
  const clock = (s) => (s == null ? "" : s >= 60 ? `${Math.floor(s / 60)}:${String(Math.round(s % 60)).padStart(2, "0")}` : short(s, " s"));
  // 1/(1-quantile) as the percentile it stands for.
  const rank = (x) => (x == null ? "" : `${Number((100 - 100 / x).toPrecision(12))} %`);

  const powers = (u, axis, min, max) => {
    const found = [];
    for (let p = Math.floor(Math.log10(min)); p <= Math.ceil(Math.log10(max)); p++) {
      const tick = 10 ** p;
      if (tick >= min * 0.999 && tick <= max * 1.001) found.push(tick);
    }
    return found;
  };
  // Latencies may all lie in one decade, which then needs more marks than its ends.
  const steps = (u, axis, min, max) => {
    const tens = powers(u, axis, min, max);
    if (tens.length > 3) return tens;
    const found = [];
    for (let p = Math.floor(Math.log10(min)); p <= Math.ceil(Math.log10(max)); p++) {
      for (const k of [1, 2, 5]) {
        const tick = k * 10 ** p;
        if (tick >= min * 0.999 && tick <= max * 1.001) found.push(Number(tick.toPrecision(3)));
      }
    }
    return found;
  };
  const logRange = (u, min, max) => {
    if (min == null || max == null || !(min > 0)) return [0.01, 1];
    return [min / 1.25, max * 1.25];
  };

  const axis = (format, more) => ({
    stroke: color("soft"), grid: { stroke: color("grid"), width: 1 }, ticks: { stroke: color("grid"), width: 1 },
    font: "12px system-ui, sans-serif", filter: (u, splits) => splits, values: (u, marks) => marks.map((v) => format(v)), ...more,
  });
  const line = (label, name, format, more) => ({
    label, stroke: color(name), width: 1.75, points: { show: false }, value: (u, v) => (v == null ? "-" : format(v)), ...more,
  });
  const time = () => axis(clock, { space: 60 });
  const at = () => ({ label: "at", value: (u, v) => (v == null ? "-" : clock(v)) });
  const linear = { range: (u, min, max) => [0, max > 0 ? max * 1.08 : 1] };
  const log = { distr: 3, range: logRange };
  const shadeMeasured = (u) => {
    const box = u.bbox, stages = data.time.measured;
    u.ctx.save();
    u.ctx.fillStyle = color("one");
    u.ctx.globalAlpha = 0.07;
    for (const [from, to] of stages) {
      const left = Math.max(u.valToPos(from, "x", true), box.left);
      const right = Math.min(u.valToPos(to, "x", true), box.left + box.width);
      if (right > left) u.ctx.fillRect(left, box.top, right - left, box.height);
    }
    u.ctx.restore();
  };
  const course = { x: { time: false } };
  const hooks = { drawClear: [shadeMeasured] };
  const t = data.time;

  const plots = {
    percentiles: () => ({
      data: [data.percentiles.x, data.percentiles.corrected, data.percentiles.uncorrected],
      scales: { x: { time: false, distr: 3, range: (u, min, max) => [1, Math.max(max, 10)] }, y: log },
      axes: [axis(rank, { splits: powers, space: 40 }), axis(ms, { splits: steps, size: 64 })],
      series: [{ label: "percentile", value: (u, v) => (v == null ? "-" : rank(v)) }, line("from intended send", "one", ms),
        line("from actual send", "two", ms, { dash: [6, 4] })],
    }),
    latency: () => ({
      data: [t.at, t.p50, t.p99, t.max, t.uncorrected_p99], scales: { ...course, y: log }, hooks,
      axes: [time(), axis(ms, { splits: steps, size: 64 })],
      series: [at(), line("p50", "four", ms), line("p99", "one", ms), line("max", "three", ms, { width: 1 }),
        line("p99 from actual send", "two", ms, { dash: [6, 4] })],
    }),
    throughput: () => ({
      data: [t.at, t.delivered, t.published], scales: { ...course, y: linear }, hooks,
      axes: [time(), axis(count, { size: 56 })],
      series: [at(), line("delivered/s", "one", count), line("published/s", "two", count)],
    }),
    connections: () => ({
      data: [t.at, t.open, t.connecting], scales: { ...course, y: linear }, hooks, axes: [time(), axis(count, { size: 56 })],
      series: [at(), line("open", "one", count), line("connecting", "two", count)],
    }),
    server: () => ({
      data: [t.at, t.busy, t.memory], scales: { ...course, y: linear, memory: linear }, hooks,
      axes: [time(), axis(percent, { size: 56 }), axis(mebi, { side: 1, scale: "memory", size: 76, grid: { show: false } })],
      series: [at(), line("CPU, of one core", "one", percent), line("anonymous memory", "two", mebi, { scale: "memory" })],
    }),
    lateness: () => ({
      data: [t.at, t.lateness], scales: { ...course, y: linear }, hooks, axes: [time(), axis(ms, { size: 64 })],
      series: [at(), line("lateness of sends, p99", "one", ms)],
    }),
  };

  const size = (place) => ({ width: Math.max(place.clientWidth, 200), height: place.closest(".wide") ? 320 : 250 });
  const draw = () => {
    for (const plot of drawn) plot.destroy();
    drawn = [];
    for (const place of document.querySelectorAll("[data-plot]")) {
      const { data: values, ...options } = plots[place.dataset.plot]();
      drawn.push(new uPlot({ ...size(place), cursor: { drag: { x: true, y: false } }, ...options }, values, place));
    }
  };
  draw();
  dark.addEventListener("change", draw);
  // Paper is light whatever the screen is.
  addEventListener("beforeprint", draw);
  addEventListener("afterprint", draw);
  let waiting = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      for (const plot of drawn) plot.setSize(size(plot.root.parentNode));
    });
  });
})();
