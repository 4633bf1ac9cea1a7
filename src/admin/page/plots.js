// The plots over time: uPlot draws, and everything that it draws can be read without seeing it.

import { PLOT_ROWS } from "./limits.js";
import { $, colour, fill, make, on, say, write } from "./dom.js";
import { UNKNOWN, axis, clock, micros, number } from "./words.js";

const HEIGHT = 168;

/** What is drawn: names of `series.js`, in the colours of the theme. */
const PLOTS = [
  { title: "Messages a second", series: [["in", "in", "--one"], ["out", "out", "--two"]], show: number },
  {
    title: "Delivery, from sequenced to sent",
    series: [["p50", "p50", "--p50"], ["p90", "p90", "--p90"], ["p99", "p99", "--p99"], ["p999", "p99.9", "--p999"]],
    show: micros, log: true,
  },
  { title: "Connections", series: [["connections", "connections", "--one"]], show: number },
  { title: "Processors used", series: [["cores", "cores", "--two"]], show: (value) => value === null ? UNKNOWN : value.toFixed(2) },
];

const known = (show, value) => (value === null || value === undefined ? UNKNOWN : show(value));

class Plot {
  constructor(parent, kind) {
    Object.assign(this, { kind, data: null, at: null });
    this.values = kind.series.map(() => make("b"));
    const legend = kind.series.map(([, label, of], index) => {
      const swatch = make("i", { className: "swatch" });
      swatch.style.background = `var(${of})`;
      return make("span", {}, swatch, `${label} `, this.values[index]);
    });
    this.moment = make("span", { className: "moment" });
    this.place = make("div", { className: "plot", tabIndex: 0, role: "group", "aria-label": `${kind.title}, plot: arrow keys read a moment` });
    this.table = make("table", {},
      make("thead", {}, make("tr", {}, ...["time", ...kind.series.map(([, label]) => label)].map((text) => make("th", { scope: "col", textContent: text })))),
      make("tbody"));
    this.details = make("details", { className: "behind" },
      make("summary", { textContent: "As a table", "aria-label": `${kind.title} as a table` }), make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `${kind.title}, table` }, this.table));
    parent.append(make("figure", {},
      make("figcaption", {}, make("h3", {}, `${kind.title} `, this.moment), make("span", { className: "legend" }, ...legend)),
      this.place, this.details));
    on(this.details, "toggle", () => this.tabulate());
    on(this.place, "keydown", (key) => this.move(key));
    on(this.place, "blur", () => this.point(null));
    new ResizeObserver(() => this.drawn?.setSize({ width: this.place.clientWidth, height: HEIGHT })).observe(this.place);
  }

  /** Made anew for each theme: its colours are in the canvas. */
  paint() {
    this.drawn?.destroy();
    const { kind } = this;
    const [ink, line] = [colour("--quiet"), colour("--line")];
    const font = "11px system-ui, sans-serif";
    const beside = { stroke: ink, font, ticks: { show: false }, grid: { stroke: line, width: 1 } };
    const time = (_, splits, __, ___, step) => splits.map((s) => clock(s * 1000).slice(0, step < 60 ? 8 : 5));
    const tens = (_, __, min, max) => {
      const splits = [];
      for (let value = min; value <= max * 1.01; value *= 10) splits.push(value);
      return splits;
    };
    const y = kind.log
      ? { distr: 3, range: (_, min, max) => [10 ** Math.floor(Math.log10(Math.max(1, min ?? 1))), 10 ** Math.max(2, Math.ceil(Math.log10(Math.max(1, max ?? 1))))] }
      : { range: (_, __, max) => [0, max > 0 ? max * 1.15 : 1] };
    const label = kind.log ? (value) => micros(value) : axis;
    this.drawn = new window.uPlot({
      width: this.place.clientWidth, height: HEIGHT, padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "time" }, drag: { x: false, y: false, setScale: false }, y: false },
      scales: { x: { time: true, range: (_, min, max) => [max - this.span, max] }, y },
      series: [{}, ...kind.series.map(([, name, of]) => ({ label: name, stroke: colour(of), width: 1.5, points: { show: false } }))],
      axes: [{ ...beside, size: 26, values: time, grid: { show: false } }, { ...beside, size: 50, values: (_, splits) => splits.map(label), ...(kind.log && { splits: tens, filter: (_, splits) => splits }) }],
      hooks: { setCursor: [(plot) => this.read(plot.cursor.idx)] },
    }, this.data, this.place);
    $("canvas", this.place).ariaHidden = "true";
  }

  show(series, seconds) {
    this.span = seconds;
    this.data = series.columns(seconds, this.kind.series.map(([name]) => name));
    if (this.kind.log) this.data = this.data.map((column, index) => (index === 0 ? column : column.map((value) => value === null ? null : Math.max(1, value))));
    if (this.drawn) this.drawn.setData(this.data);
    else this.paint();
    this.place.classList.toggle("none", this.data[0].length === 0);
    this.read(this.drawn.cursor.idx);
    this.tabulate();
  }

  /** The legend shows the moment under the cursor, else the latest. */
  read(at) {
    const index = at ?? this.data[0].length - 1;
    write(this.moment, at === null || at === undefined ? "" : clock(this.data[0][index] * 1000));
    this.values.forEach((value, column) => write(value, known(this.kind.show, this.data[column + 1][index])));
  }

  move(key) {
    const last = this.data[0].length - 1;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -Infinity, End: Infinity };
    if (!(key.key in steps) || last < 0) return;
    key.preventDefault();
    this.point(Math.min(last, Math.max(0, (this.at ?? last) + steps[key.key])));
    const values = this.kind.series.map(([, label], column) => `${label} ${this.values[column].textContent}`);
    say(`${clock(this.data[0][this.at] * 1000)}: ${values.join(", ")}`);
  }

  point(index) {
    this.at = index;
    if (!this.drawn) return;
    const left = index === null ? -10 : this.drawn.valToPos(this.data[0][index], "x");
    this.drawn.setCursor({ left, top: index === null ? -10 : 10 });
  }

  tabulate() {
    if (!this.details.open || !this.data) return;
    const { data: [times, ...columns], kind } = this;
    const step = Math.max(1, Math.ceil(times.length / PLOT_ROWS));
    const rows = [];
    for (let index = times.length - 1; index >= 0; index -= step) {
      rows.push([{ head: true, text: clock(times[index] * 1000) }, ...columns.map((column) => known(kind.show, column[index]))]);
    }
    fill(this.table.tBodies[0], rows);
  }
}

export class Plots {
  constructor(parent) {
    this.all = PLOTS.map((kind) => new Plot(parent, kind));
    on(document, "theme", () => this.all.forEach((plot) => plot.data && plot.paint()));
  }

  show(series, seconds) {
    for (const plot of this.all) plot.show(series, seconds);
  }
}
