// The points that the plots and strips show: of each event the few numbers that are drawn, in order of time, bounded.

import { POINTS_MAX } from "./limits.js";

const NUMBER = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

/** What is kept of an event. A plot's series names one of these. */
const KEPT = {
  in: (of) => of.totals?.received_per_s, out: (of) => of.totals?.sent_per_s,
  connections: (of) => of.totals?.connections, cores: (of) => of.totals?.cpu_cores,
  p50: (of) => of.delivery?.p50_us, p90: (of) => of.delivery?.p90_us,
  p99: (of) => of.delivery?.p99_us, p999: (of) => of.delivery?.p999_us,
};

export class Series {
  constructor() {
    this.points = [];
  }

  /** Keeps an event of any age; the same again changes nothing. Answers whether it was new. */
  keep(stats) {
    const at = NUMBER(stats?.at_ms);
    if (at === null) return false;
    const { points } = this;
    let place = points.length;
    while (place > 0 && points[place - 1].at > at) place -= 1;
    if (place > 0 && points[place - 1].at === at) return false;
    const point = { at, interval: stats.interval_ms ?? 1000, busy: (stats.shards ?? []).map((shard) => NUMBER(shard.busy)) };
    for (const [name, of] of Object.entries(KEPT)) point[name] = NUMBER(of(stats));
    points.splice(place, 0, point);
    if (points.length > POINTS_MAX) points.shift();
    return true;
  }

  get latest() {
    return this.points.at(-1);
  }

  /** The points of the last `seconds`. */
  within(seconds) {
    const from = (this.latest?.at ?? 0) - seconds * 1000;
    let first = this.points.length;
    while (first > 0 && this.points[first - 1].at >= from) first -= 1;
    return this.points.slice(first);
  }

  /** Columns for a plot: seconds, then each name. Where points are missing the lines are broken. */
  columns(seconds, names) {
    const columns = [[], ...names.map(() => [])];
    let before = null;
    for (const point of this.within(seconds)) {
      if (before !== null && point.at - before > 3 * point.interval) {
        columns[0].push((before + point.interval) / 1000);
        for (const column of columns.slice(1)) column.push(null);
      }
      columns[0].push(point.at / 1000);
      names.forEach((name, index) => columns[index + 1].push(point[name]));
      before = point.at;
    }
    return columns;
  }
}
