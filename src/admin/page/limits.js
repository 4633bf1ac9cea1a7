// Every bound of the page. Of what is kept the oldest goes.

/** Points kept: an hour of one a second. */
export const POINTS_MAX = 3600;
/** Points asked for when the page opens. */
export const BACKFILL_POINTS = 300;
/** Requests for them, 128 KiB each: few of many shards. Beyond it the plots begin later. */
export const BACKFILL_REQUESTS_MAX = 12;
/** Events of a followed channel kept. */
export const TAIL_EVENTS_MAX = 500;
/** Characters of an event shown: a payload may have 65,536. */
export const TAIL_CHARS_MAX = 2000;
/** Lines of the demonstration kept, and messages timed. */
export const SAID_MAX = 50;
/** Shards up to which the matrix shows figures; beyond it colours only. */
export const MATRIX_FIGURES_MAX = 12;
/** Columns of a shard's strip. */
export const STRIP_COLUMNS = 150;
/** Rows of the tables behind the plots. */
export const PLOT_ROWS = 20;
/** The first wait before a new connection, doubled each time, and the longest. */
export const BACKOFF_MS = 500;
export const BACKOFF_MAX_MS = 15000;
/** Silence after which a connection is asked, and given up. */
export const SILENCE_MS = 40000;
export const SILENCE_END_MS = 50000;
/** Time without statistics after which the page says so. */
export const STALE_MS = 5000;
