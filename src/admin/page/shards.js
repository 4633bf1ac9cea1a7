// The design made visible: what each shard does, and what goes from each to each.

import { MATRIX_FIGURES_MAX, STRIP_COLUMNS } from "./limits.js";
import { $, colour, fillOrSay, make, on, say, write } from "./dom.js";
import { axis, bytes, micros, number, percent } from "./words.js";

const OVER = 0.9;

/** A row for each shard with how busy it was over the time shown. */
export class Strips {
  constructor() {
    this.table = $("#shards");
    this.repaint();
    on(document, "theme", () => this.repaint());
  }

  repaint() {
    const parts = (name) => colour(name).match(/[\d.]+/g).slice(0, 3).map(Number);
    this.colours = { idle: parts("--idle"), full: parts("--heat"), over: parts("--bad") };
  }

  show(shards, series, seconds) {
    const rows = (shards ?? []).map((shard, index) => {
      const dead = shard.answering === false;
      const state = dead ? "does not answer" : percent(shard.busy);
      const pinned = shard.cpu === undefined ? "" : `cpu ${shard.cpu}`;
      return [
        { head: true, text: String(index), note: pinned }, { text: "", of: "strip" }, { text: state, of: dead ? "bad" : "" },
        number(shard.connections), number(shard.channels), number(shard.received_per_s), number(shard.sent_per_s),
        micros(shard.turn_max_us), number(shard.parks_per_s), bytes(shard.history_bytes), bytes(shard.owed_bytes),
      ];
    });
    fillOrSay(this.table, rows, "No shard has told anything yet.");
    const strips = bucketed(series, seconds, rows.length);
    [...this.table.tBodies[0].rows].forEach((row, shard) => {
      const cell = row.cells[1];
      const canvas = cell.firstChild ?? cell.appendChild(make("canvas", { width: STRIP_COLUMNS, height: 1, "aria-hidden": "true" }));
      this.paint(canvas.getContext("2d"), strips[shard]);
    });
  }

  paint(context, strip) {
    const image = context.createImageData(STRIP_COLUMNS, 1);
    const { idle, full, over } = this.colours;
    strip.forEach((busy, column) => {
      if (busy === null) return;
      const share = Math.min(1, Math.max(0, busy));
      const mixed = share >= OVER ? over : idle.map((from, part) => from + (full[part] - from) * (share / OVER));
      image.data.set([...mixed, 255], column * 4);
    });
    context.putImageData(image, 0, 0);
  }
}

/** For each shard the busiest moment of each column of time; null where nothing is known. */
function bucketed(series, seconds, shards) {
  const strips = Array.from({ length: shards }, () => new Array(STRIP_COLUMNS).fill(null));
  const end = series.latest?.at ?? 0;
  const width = (seconds * 1000) / STRIP_COLUMNS;
  for (const point of series.within(seconds)) {
    const last = STRIP_COLUMNS - 1 - Math.floor((end - point.at) / width);
    // A point stands for the interval before it, which may be wider than a column.
    const first = STRIP_COLUMNS - Math.ceil((end - point.at + point.interval) / width);
    for (let column = Math.max(0, Math.min(first, last)); column <= Math.max(0, last); column += 1) {
      for (let shard = 0; shard < Math.min(shards, point.busy.length); shard += 1) {
        const busy = point.busy[shard];
        if (busy !== null) strips[shard][column] = Math.max(busy, strips[shard][column] ?? 0);
      }
    }
  }
  return strips;
}

/** Rows send, columns receive. */
export class Matrix {
  constructor() {
    Object.assign(this, { table: $("#mesh"), read: $("#mesh-read"), count: 0, at: null, cells: [] });
    on($("#mesh-what"), "change", () => this.show(this.mesh, this.known));
    on(this.table, "keydown", (key) => this.move(key));
    on(this.table, "pointerover", (over) => this.pick(this.cells.indexOf(over.target)));
    on(this.table, "pointerleave", () => this.pick(-1));
    on(this.table, "blur", () => this.pick(-1));
  }

  show(mesh, known) {
    Object.assign(this, { mesh, known });
    const what = $("input:checked", $("#mesh-what")).value;
    this.values = Array.isArray(mesh?.[what]) ? mesh[what] : [];
    if (this.values.length !== this.count) this.build(this.values.length);
    const most = Math.max(0, ...this.values.flat());
    const figures = this.count <= MATRIX_FIGURES_MAX;
    this.values.forEach((row, from) => row.forEach((value, to) => {
      const cell = this.cells[from * this.count + to];
      if (!cell) return;
      // By its logarithm, as rates between shards differ by powers of ten.
      const heat = most > 0 && value > 0 ? (Math.log1p(value) / Math.log1p(most)).toFixed(2) : "0";
      if (cell.dataset.heat !== heat) {
        cell.dataset.heat = heat;
        cell.style.setProperty("--v", heat);
      }
      if (figures) write(cell, from === to && !value ? "·" : axis(value));
    }));
    this.tell();
  }

  build(count) {
    this.count = count;
    this.at = null;
    const dense = count > MATRIX_FIGURES_MAX;
    this.table.className = dense ? "dense" : "";
    this.table.hidden = count < 2;
    this.cells = [];
    const shards = Array.from({ length: count }, (_, shard) => shard);
    const shown = (shard) => (!dense || shard % 8 === 0 ? String(shard) : "");
    const head = make("tr", {}, make("td", { textContent: dense ? "" : "from, to" }), ...shards.map((shard) => make("th", { scope: "col", textContent: shown(shard) })));
    this.table.tHead.replaceChildren(head);
    this.table.tBodies[0].replaceChildren(...shards.map((from) => {
      const cells = shards.map(() => make("td"));
      this.cells.push(...cells);
      return make("tr", {}, make("th", { scope: "row", textContent: shown(from) }), ...cells);
    }));
  }

  move(key) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.count, ArrowDown: this.count };
    if (!(key.key in steps) || this.count < 2) return;
    key.preventDefault();
    const next = this.at === null ? 0 : this.at + steps[key.key];
    if (next >= 0 && next < this.cells.length) this.pick(next);
    say(this.words());
  }

  pick(at) {
    if (this.at !== null) this.cells[this.at]?.classList.remove("picked");
    this.at = at < 0 ? null : at;
    if (this.at !== null) this.cells[this.at].classList.add("picked");
    this.tell();
  }

  tell() {
    write(this.read, this.words());
  }

  words() {
    if (this.count === 0) return "Not known.";
    if (this.count === 1) return "There is one shard: nothing goes from one to another.";
    const [rates, depths] = [this.mesh.messages_per_s, this.mesh.depth];
    let at = this.at;
    const picked = at !== null;
    if (!picked) {
      const flat = this.values.flat();
      at = flat.indexOf(Math.max(...flat));
      if (!flat[at]) return "Nothing goes from one shard to another now.";
    }
    const [from, to] = [Math.floor(at / this.count), at % this.count];
    return `${picked ? "" : "Most: "}from ${from} to ${to}, ${number(rates?.[from]?.[to])} messages / s, ${number(depths?.[from]?.[to])} waiting.`;
  }
}
