//! Every number that bounds the load generator's memory, time or work.
//!
//! Units stand in the names. What a scenario may ask for is bounded here too; over it the run is refused at the start.

/// Connections of one run, all its processes together; over it the run is refused. What one process can hold is the
/// kernel's to say: its descriptor limit is looked at when the run begins. Four hosts of a quarter of a million each.
pub const CONNECTIONS_COUNT_MAX: usize = 1 << 20;
/// Threads of one process; over it the run is refused. More than any machine's cores that this is run on.
pub const THREADS_COUNT_MAX: usize = 256;
/// Phases of one scenario; over it the scenario is refused. Each has histograms of every group: about 700 KB.
pub const PHASES_COUNT_MAX: usize = 64;
/// Longest phase, in seconds: a week, which no soak exceeds; over it the scenario is refused.
pub const DURATION_S_MAX: f64 = 604_800.0;
/// Shortest time, in seconds, that connections of the plan `resume` stay away; under it the scenario is refused. Less is
/// as good as not having gone.
pub const AWAY_S_MIN: f64 = 0.1;
/// Rounds of the plan `resume`, each a phase in the result; over it the scenario is refused.
pub const ROUNDS_COUNT_MAX: f64 = 60.0;
/// Sizes of rooms or of bodies that a scenario may list; over it the scenario is refused.
pub const SIZES_COUNT_MAX: usize = 64;
/// Source addresses a scenario may list; over it the scenario is refused. With one port range each, twelve million
/// connections to one address.
pub const SOURCES_COUNT_MAX: usize = 250;
/// Time from the last thread's arrival at a gate to its opening, so that all have heard of it: twice the longest wait.
pub const GATE_NS: u64 = 20_000_000;
/// Time between two reads of a connection that reads slowly: what it may read in it is read at once.
pub const SLOW_READ_NS: u64 = 50_000_000;
/// Bytes the kernel may keep for a connection that reads slowly, so that the server notices; the kernel doubles it.
pub const SLOW_RECEIVE_BYTES: usize = 4096;
/// Time until a slow reader that the server closed comes back.
pub const SLOW_RETURN_NS: u64 = 1_000_000_000;
/// Descriptors kept for everything that is not a connection.
pub const DESCRIPTORS_SPARE_COUNT: usize = 64;
/// Loopback addresses connections come from if a scenario does not say, 127.0.0.1 upwards: each has ports of its own.
pub const SOURCE_ADDRESSES_COUNT: u8 = 4;
/// Bytes of the shared receive buffer, and so of the longest frame that is understood; a longer one is a protocol
/// fault. Sixteen times the gateway's largest message.
pub const RECEIVE_BYTES: usize = 1024 * 1024;
/// Events of one wait.
pub const EVENTS_PER_TURN: usize = 1024;
/// Sockets looked at before the open loop's clock is looked at again: about 100 us of work.
pub const EVENTS_PER_SEND: usize = 64;
/// Sends of the open loop before the sockets are looked at again.
pub const SENDS_PER_TURN: usize = 256;
/// Bytes kept for a connection whose socket is full; over it a publish is not sent and counted as blocked.
pub const UNSENT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of an upgrade response's head; over it the opening failed.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Bytes of an adapter's file; over it the file is refused. A hundred times the longest one here.
pub const ADAPTER_BYTES_MAX: usize = 128 * 1024;
/// Steps of an adapter's hello; over it the adapter is refused. Four times the longest one here.
pub const HELLO_STEPS_MAX: usize = 32;
/// Dialects that an adapter names besides its own; over it the adapter is refused. Twice as many as the gateway has.
pub const DIALECTS_COUNT_MAX: usize = 4;
/// Publishes of one frame; over it the adapter is refused. As many as the gateway takes in a batch.
pub const BATCH_COUNT_MAX: u32 = 100;
/// Messages that may come before the one a hello waits for; over it the opening failed. A big room's presence comes
/// in a few.
pub const HELLO_MESSAGES_MAX: u32 = 4096;
/// Bytes of a server's version; a longer one is none.
pub const VERSION_BYTES_MAX: usize = 64;
/// Bytes of a room's name and of its epoch, as the server tells them, that a connection keeps to come back with; longer
/// ones are not kept, and the server refuses. The gateway's longest name has half as many.
pub const RESUME_BYTES_MAX: usize = 512;
/// Seconds in which no further connection comes up while some are being opened; then those have failed. Twice the
/// longest hold of the gateway's entrance and its authentication deadline together. A scenario may ask for less.
pub const OPENING_S_MAX: f64 = 40.0;
/// Time for the closing handshakes of all connections; the rest is cut.
pub const CLOSING_DEADLINE_NS: u64 = 5_000_000_000;
/// Longest wait for events, so that deadlines are seen.
pub const WAIT_NS_MAX: u64 = 10_000_000;
/// Events of one room that not every member has had, kept to compare the members' orders; older ones go unchecked
/// and are counted.
pub const ORDER_LOG_COUNT_MAX: usize = 4096;
/// Faults of each kind that are named, the first ones; the others are only counted. Enough to see what they have in
/// common.
pub const FINDINGS_COUNT_MAX: usize = 8;
/// Missing numbers remembered per member and publisher; further ones are counted as lost at once.
pub const MISSING_COUNT_MAX: usize = 4096;
/// Kinds of events and of failures counted by name; further names are counted together.
pub const NAMES_COUNT_MAX: usize = 64;
/// Refusals of the server kept word for word, the first ones.
pub const REFUSALS_COUNT_MAX: usize = 8;
/// Bytes of a refusal that are kept.
pub const REFUSAL_BYTES_MAX: usize = 400;
/// Every how manieth delivery is read by a JSON parser as well.
pub const JSON_SAMPLE_EVERY: u64 = 1000;
/// Kinds of messages in a group's mix; over it the scenario is refused. A marker has one digit for them.
pub const MIX_COUNT_MAX: usize = 16;
/// Weight of one kind in a mix; over it the scenario is refused. A hundred times a thousandth's share.
pub const WEIGHT_MAX: u32 = 100_000;
/// Servers of one `against`; over it the command is refused. More rows than a table is read with.
pub const ENTRANTS_COUNT_MAX: usize = 16;
/// Processes of one server that are watched: further ones go unseen. Eight times as many as nginx starts here.
pub const FAMILY_COUNT_MAX: usize = 64;
/// Publishes outstanding per publisher in the closed loop.
pub const OUTSTANDING_COUNT_MAX: u32 = 4096;
/// Publishes that wait in one publisher because it may have no more on the way; over it they are not sent and counted
/// as blocked. At a thousand a second, a minute.
pub const WAITING_COUNT_MAX: usize = 65_536;
/// Longest latency told apart from longer ones.
pub const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Significant digits of a latency.
pub const LATENCY_DIGITS: u8 = 3;
/// Length of a point of the timeline, until there are too many points.
pub const SECOND_NS: u64 = 1_000_000_000;
/// Empty seconds that a thread of the engine has besides the one it fills: while the watching thread is late by no more
/// than these, each second stays a point.
pub const SECONDS_SPARE_COUNT: usize = 4;
/// Seconds on the way from the engine to the watching thread, or back; over it, which takes as many changes of stage
/// unseen, the engine waits at the next change.
pub const SECONDS_QUEUED_MAX: usize = 64;
/// How often the watching thread looks at keys and draws.
pub const WATCH_NS: u64 = 200_000_000;
/// Bytes of keys taken at one look; further ones wait for the next. What a person presses, or holds down, between two.
pub const KEY_BYTES_PER_LOOK: usize = 256;
/// Cells of a terminal that is drawn on; a larger one, which no screen has and a program may say that it is, gets lines.
/// Each takes some sixty bytes twice.
pub const SCREEN_CELLS_MAX: u32 = 256 * 1024;
/// Points of the live view's graph, a second each.
pub const GRAPH_POINTS_MAX: usize = 512;
/// Significant digits of a latency in the timeline: a second's histogram then takes 15 KB while it is filled and some
/// hundred bytes in a file.
pub const SLICE_DIGITS: u8 = 2;
/// Points of a timeline; over it neighbours become one, so that a run of half an hour has its seconds and one of a week
/// has a point each ten minutes.
pub const TIMELINE_POINTS_MAX: usize = 1800;
/// Points of the plot by percentile for each factor of ten in rarity.
pub const PERCENTILE_STEPS_PER_DECADE: u32 = 20;
/// Characters of a histogram in a file; a longer one is refused. A histogram of `LATENCY_DIGITS` with each of its
/// counts different takes some 320,000.
pub const HISTOGRAM_TEXT_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a `summary.json` that is read; a longer one is refused. `TIMELINE_POINTS_MAX` points with two histograms
/// each take some 10 MB.
pub const SUMMARY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Members in all rooms times publishers of each: the checker's cells of four bytes.
pub const CHECKER_CELLS_COUNT_MAX: usize = 16 * 1024 * 1024;
/// Repeats of one side below which no interval is given: with four, not even the smallest and the largest hold the
/// median between them in 95 of 100 cases.
pub const REPEATS_COUNT_MIN: usize = 5;
/// Repeats of one side; over it the comparison is refused. A day of runs, and the sign test's terms stay above 0.
pub const REPEATS_COUNT_MAX: usize = 1000;
/// Results that are put together; over it they are refused. Each may be as long as a summary may be.
pub const RESULTS_COUNT_MAX: usize = 64;
/// Objectives of one run; over it the run is refused. More than the figures that anybody watches.
pub const SLOS_COUNT_MAX: usize = 64;
/// Seconds for which an objective may be broken before the run is ended: a run of a day and no objective at all.
pub const SLO_ABORT_S_MAX: f64 = 86_400.0;
/// Time that the gateway's doctor has for its answer; over it, it is ended and nothing is known. It reads some dozens of
/// small files.
pub const DOCTOR_NS: u64 = 10_000_000_000;
/// Bytes of that answer; over it nothing is known. Ten times as long as it is.
pub const DOCTOR_BYTES_MAX: usize = 256 * 1024;
/// Rows of a suite of pairs; over it the suite is refused. Fifteen pairs of each take an afternoon.
pub const SUITE_ROWS_COUNT_MAX: usize = 64;
/// Shortest slice of a pair; under it the command is refused. Handing over takes some tenths of a millisecond, so this
/// loses a few hundredths of the time, and caches are filled anew in more of it.
pub const SLICE_MS_MIN: u64 = 10;
/// Slice of a pair if nothing else is said: long beside a handing over and beside filling the caches anew, which the other
/// side has emptied; short beside what a machine's speed changes in.
pub const SLICE_MS: u64 = 500;
/// Longest slice of a pair; over it the command is refused. Whole runs in turn are slices enough.
pub const SLICE_MS_MAX: u64 = 10_000;
/// Time a server has to stop at the end of a slice; over it the pair fails. It takes microseconds on a core of its own,
/// and as long as its threads wait for a core on one that others have.
pub const SERVER_STOP_NS: u64 = 5_000_000_000;
/// Bytes that are kept of what a side of a pair says when it fails.
pub const SIDE_ERROR_BYTES_MAX: u64 = 4096;
/// Draws of a bootstrap: the ends of an interval then move by less than the runs' own noise from seed to seed.
pub const BOOTSTRAP_DRAWS_COUNT: usize = 4000;
/// Time a server that the program started has until it accepts.
pub const SERVER_START_NS: u64 = 15_000_000_000;
/// Time a server has for its answer whether it is ready; over it, it is asked anew.
pub const READY_ANSWER_NS: u64 = 1_000_000_000;
/// Accepts in a row after which a server counts as ready that cannot tell: the first alone may be one of its threads'
/// that is there before the others.
pub const READY_ACCEPTS_COUNT: u32 = 3;
/// Time in which an address must become free before a server is started on it: the listener of a server that has just
/// ended is gone within milliseconds.
pub const ADDRESS_FREE_NS: u64 = 2_000_000_000;
/// Time a server has to end after SIGTERM before it is killed.
pub const SERVER_END_NS: u64 = 15_000_000_000;
/// Kills of one `crash`; over it the command is refused. Two days of them.
pub const CRASH_KILLS_COUNT_MAX: u32 = 100_000;
/// Operations of one `crash`; when they are reached nothing new is published. About 1 GB of what is known of them, and
/// each restart reads all of them back.
pub const CRASH_OPERATIONS_COUNT_MAX: usize = 4 * 1024 * 1024;
/// Publishers, channels, and members that read all the time; over it the command is refused. More of them make a load, and
/// `run` is for that.
pub const CRASH_PARTIES_COUNT_MAX: usize = 64;
/// Operations of one publisher without an answer; over it the command is refused, at it a publisher waits.
pub const CRASH_WINDOW_COUNT_MAX: usize = 256;
/// Operations sent again into one channel after a kill; what may be more is refused. So many a channel of the gateway
/// remembers, and one that it has forgotten it may take for new.
pub const CRASH_SENT_AGAIN_PER_CHANNEL_MAX: usize = 512;
/// Operations of each publisher that are sent again although they were answered: enough that each restart has some of
/// them, few beside what is remembered.
pub const CRASH_SENT_AGAIN_COUNT: u32 = 4;
/// Publishes a second of one publisher; over it the command is refused.
pub const CRASH_RATE_MAX: f64 = 100_000.0;
/// Smallest content of an operation: its id.
pub const CRASH_CONTENT_BYTES_MIN: usize = 25;
/// Largest content of an operation, with room for what is around it in the gateway's largest message.
pub const CRASH_CONTENT_BYTES_MAX: usize = 60_000;
/// Names of epochs; further ones are taken for the last. Each start has one for each of its channels at most.
pub const CRASH_EPOCHS_COUNT_MAX: usize = 1 << 20;
/// Events asked for in one part of a history: as many as the gateway gives.
pub const CRASH_PAGE_EVENTS_COUNT: u32 = 500;
/// Parts of one history; over it the history counts as one that cannot be read. Twenty million events.
pub const CRASH_PAGES_COUNT_MAX: u32 = 40_000;
/// Time for an answer of any kind; over it, it counts as not given. Long beside a group commit on a slow disk.
pub const CRASH_ANSWER_NS: u64 = 30_000_000_000;
/// Time in which a round of a `crash` is to have its acknowledged operations; over it the kill comes all the same.
pub const CRASH_ROUND_NS_MAX: u64 = 60_000_000_000;
/// Longest time that a kill may be put off by chance; over it the command is refused.
pub const CRASH_CHANCE_S_MAX: f64 = 3600.0;
/// Time for what a killed server had sent to be read: it lies in our own kernel's buffers.
pub const CRASH_DRAIN_NS: u64 = 2_000_000_000;
/// Time that the command of a power cut may take; over it, it is killed and the trial ends.
pub const CRASH_CUT_NS: u64 = 120_000_000_000;

const _: () = assert!(CRASH_CONTENT_BYTES_MAX < RECEIVE_BYTES / 2, "an event with what is around it is read whole");
const _: () = assert!(CONNECTIONS_COUNT_MAX < 1 << 24, "a connection's number fits the six digits of a marker");
const _: () = assert!(SLICE_MS_MIN <= SLICE_MS && SLICE_MS <= SLICE_MS_MAX, "what is usual is allowed");
const _: () = assert!(SECONDS_SPARE_COUNT < SECONDS_QUEUED_MAX, "what is spare fits the queue");
const _: () = assert!(GATE_NS >= 2 * WAIT_NS_MAX, "every thread looks at a gate before it opens");
const _: () = assert!(RECEIVE_BYTES > 2 * 65_536, "the largest message fits with one behind it");
