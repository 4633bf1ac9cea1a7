// How numbers, times and codes are written. What is not known is said, never shown as zero.

export const UNKNOWN = "not known";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const some = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A count or a rate: fractions only where they mean something. */
export function number(value) {
  if (!isNumber(value)) return UNKNOWN;
  return Number.isInteger(value) || Math.abs(value) >= 100 ? whole.format(value) : some.format(value);
}

const scaled = (value, step, units) => {
  let index = 0;
  // Four digits before the unit are one too many, also of 1024.
  while (Math.abs(value) >= 1000 && index < units.length - 1) {
    value /= step;
    index += 1;
  }
  return [value, units[index]];
};
const short = (value) => (value >= 100 || Number.isInteger(value) ? whole.format(value) : Number(value.toPrecision(2)).toString());

/** As short as an axis wants it: 12k, 1.5M. */
export function axis(value) {
  const [scale, unit] = scaled(value, 1000, ["", "k", "M", "G", "T"]);
  return short(scale) + unit;
}

export function bytes(value) {
  if (!isNumber(value)) return UNKNOWN;
  const [scale, unit] = scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
  return `${unit === "B" || scale >= 100 ? whole.format(scale) : some.format(scale)} ${unit}`;
}

/** Microseconds in the unit that reads best. */
export function micros(value) {
  if (!isNumber(value)) return UNKNOWN;
  const [scale, unit] = scaled(value, 1000, ["µs", "ms", "s"]);
  if (value < 1) return "< 1 µs";
  return `${short(scale)} ${unit}`;
}

export function percent(value) {
  return isNumber(value) ? `${whole.format(value * 100)} %` : UNKNOWN;
}

/** Seconds as an uptime: the two largest units. */
export function lasting(seconds) {
  if (!isNumber(seconds)) return UNKNOWN;
  for (const [unit, size, below, part] of [["d", 86400, "h", 3600], ["h", 3600, "min", 60], ["min", 60, "s", 1]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ${Math.floor((seconds % size) / part)} ${below}`;
  }
  return `${Math.floor(seconds)} s`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

export const CLOSES = {
  1000: "asked for", 1001: "went away", 1002: "broke the protocol", 1003: "binary", 1006: "lost", 1007: "not UTF-8",
  1008: "invalid messages", 1009: "too large", 1011: "server's fault", 1012: "restart, or an admin", 4000: "no first frame",
  4001: "bad token", 4003: "not permitted", 4008: "over a limit", 4009: "replaced", 4010: "silent", 4013: "did not read",
  4029: "flooding",
};

export const REFUSALS = {
  head: "malformed request", origin: "another origin", token: "bad", expired: "token", crowded: "too many handshakes",
  token_rate: "too many bad tokens", upgrade_rate: "too many upgrades", late: "no token in time", full: "no room",
  rate: "too many messages", permission: "not permitted", invalid: "malformed message", overload: "may be retried",
};
