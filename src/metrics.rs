//! Per-shard counters, gauges and histograms, and the one table of their names.
//!
//! A shard is the only writer of its own numbers, so a write is a relaxed load and a relaxed store:
//! no read-modify-write, no lock, and a wedged shard stays readable. Readers (the administration
//! executor, the tests) see each number whole and the set of them roughly at one time.
//! No label here has more values than this table names.

pub mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a number does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A gauge of how something is, not of how much: of several shards the highest holds, and a sum says nothing.
    State,
}

/// How one number is shown: Prometheus family, label set (`reason="rate"` or empty), kind and help.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Family name, unit last.
    pub family: &'static str,
    /// Labels without braces; empty if there are none.
    pub labels: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// One line of help, the same for the whole family.
    pub help: &'static str,
}

impl Description {
    /// The value of its label; nothing if it has none.
    #[must_use]
    pub fn label_value(&self) -> &'static str {
        self.labels.split('"').nth(1).unwrap_or("")
    }
}

/// Declares the numbers and their table together, so that neither can lack a row of the other.
macro_rules! metrics {
    ($($variant:ident: $kind:ident $family:literal $labels:literal $help:literal;)+) => {
        /// One number of a shard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Metric { $(#[doc = $help] $variant,)+ }

        impl Metric {
            /// Every number, families together, in the order they are shown.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// How this number is shown.
            #[must_use]
            pub const fn describe(self) -> Description {
                match self {
                    $(Self::$variant => Description { family: $family, labels: $labels, kind: Kind::$kind, help: $help },)+
                }
            }
        }
    };
}

metrics! {
    Connections: Gauge "waystation_connections" "" "WebSocket connections that are open";
    ConnectionsLimit: State "waystation_connections_limit" "" "Connections that the whole process takes, by limits.connections and its descriptors";
    Sockets: Gauge "waystation_sockets" "" "Accepted sockets, whatever their state";
    Held: Gauge "waystation_held_upgrades" "" "Upgrades that wait for a place";
    Channels: Gauge "waystation_channels" "" "Channels known to the shard";
    Memberships: Gauge "waystation_memberships" "" "Subscriptions of open connections to channels";
    HistoryBytes: Gauge "waystation_history_bytes" "" "Bytes of retained events";
    RoomBytes: Gauge "waystation_room_bytes" "" "Bytes of remembered operations and of events put together for a crowd";
    OutboxBytes: Gauge "waystation_outbox_bytes" "" "Bytes queued towards clients, channel events aside";
    Blocked: Gauge "waystation_blocked_connections" "" "Connections whose socket takes nothing at the moment";
    StoreTrouble: State "waystation_store_trouble" "" "1 while the store cannot write";
    Draining: State "waystation_draining" "" "1 while the shard drains";
    RulesGeneration: State "waystation_config_generation" "" "Counts the configurations that were in force";
    ConfigBad: State "waystation_config_bad" "" "1 while the configuration as it stands is refused and an older one holds";
    ConfigApplied: Counter "waystation_config_reloads_total" "outcome=\"applied\"" "Times the configuration was read again, by outcome";
    ConfigRefused: Counter "waystation_config_reloads_total" "outcome=\"refused\"" "Times the configuration was read again, by outcome";
    KeysGeneration: State "waystation_keys_generation" "" "Counts the sets of keys that tokens were held against";
    Accepted: Counter "waystation_accepted_total" "" "Sockets accepted";
    HandedOver: Counter "waystation_handed_over_total" "" "Sockets handed to the home shard of their channel";
    Upgraded: Counter "waystation_upgraded_total" "" "Opening handshakes answered 101";
    EventStreams: Counter "waystation_event_streams_total" "" "Event streams opened";
    Authenticated: Counter "waystation_authenticated_total" "" "Connections admitted with a good token";
    HttpRequests: Counter "waystation_http_requests_total" "" "HTTP requests that were no upgrade";
    RefusedHead: Counter "waystation_refused_total" "reason=\"head\"" "Refusals by reason";
    RefusedOrigin: Counter "waystation_refused_total" "reason=\"origin\"" "Refusals by reason";
    RefusedToken: Counter "waystation_refused_total" "reason=\"token\"" "Refusals by reason";
    RefusedExpired: Counter "waystation_refused_total" "reason=\"expired\"" "Refusals by reason";
    RefusedCrowded: Counter "waystation_refused_total" "reason=\"crowded\"" "Refusals by reason";
    RefusedTokenRate: Counter "waystation_refused_total" "reason=\"token_rate\"" "Refusals by reason";
    RefusedUpgradeRate: Counter "waystation_refused_total" "reason=\"upgrade_rate\"" "Refusals by reason";
    RefusedLate: Counter "waystation_refused_total" "reason=\"late\"" "Refusals by reason";
    RefusedFull: Counter "waystation_refused_total" "reason=\"full\"" "Refusals by reason";
    RefusedRate: Counter "waystation_refused_total" "reason=\"rate\"" "Refusals by reason";
    RefusedPermission: Counter "waystation_refused_total" "reason=\"permission\"" "Refusals by reason";
    RefusedInvalid: Counter "waystation_refused_total" "reason=\"invalid\"" "Refusals by reason";
    RefusedOverload: Counter "waystation_refused_total" "reason=\"overload\"" "Refusals by reason";
    RefusedDraining: Counter "waystation_refused_total" "reason=\"draining\"" "Refusals by reason";
    ClosedNormal: Counter "waystation_closed_total" "reason=\"normal\"" "Connections ended by reason";
    ClosedGone: Counter "waystation_closed_total" "reason=\"gone\"" "Connections ended by reason";
    ClosedProtocol: Counter "waystation_closed_total" "reason=\"protocol\"" "Connections ended by reason";
    ClosedPolicy: Counter "waystation_closed_total" "reason=\"policy\"" "Connections ended by reason";
    ClosedToken: Counter "waystation_closed_total" "reason=\"token\"" "Connections ended by reason";
    ClosedIdle: Counter "waystation_closed_total" "reason=\"idle\"" "Connections ended by reason";
    ClosedSlow: Counter "waystation_closed_total" "reason=\"slow\"" "Connections ended by reason";
    ClosedDrain: Counter "waystation_closed_total" "reason=\"drain\"" "Connections ended by reason";
    ClosedReplaced: Counter "waystation_closed_total" "reason=\"replaced\"" "Connections ended by reason";
    ClosedLimit: Counter "waystation_closed_total" "reason=\"limit\"" "Connections ended by reason";
    ClosedAdmin: Counter "waystation_closed_total" "reason=\"admin\"" "Connections ended by reason";
    Closed1000: Counter "waystation_close_codes_total" "code=\"1000\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed1001: Counter "waystation_close_codes_total" "code=\"1001\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed1002: Counter "waystation_close_codes_total" "code=\"1002\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed1003: Counter "waystation_close_codes_total" "code=\"1003\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed1005: Counter "waystation_close_codes_total" "code=\"1005\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed1006: Counter "waystation_close_codes_total" "code=\"1006\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed1007: Counter "waystation_close_codes_total" "code=\"1007\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed1008: Counter "waystation_close_codes_total" "code=\"1008\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed1009: Counter "waystation_close_codes_total" "code=\"1009\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed1011: Counter "waystation_close_codes_total" "code=\"1011\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed1012: Counter "waystation_close_codes_total" "code=\"1012\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed4000: Counter "waystation_close_codes_total" "code=\"4000\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed4001: Counter "waystation_close_codes_total" "code=\"4001\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed4003: Counter "waystation_close_codes_total" "code=\"4003\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed4008: Counter "waystation_close_codes_total" "code=\"4008\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed4009: Counter "waystation_close_codes_total" "code=\"4009\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed4010: Counter "waystation_close_codes_total" "code=\"4010\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed4013: Counter "waystation_close_codes_total" "code=\"4013\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    Closed4029: Counter "waystation_close_codes_total" "code=\"4029\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    ClosedOther: Counter "waystation_close_codes_total" "code=\"other\"" "Connections ended by the code of the close frame; 1005 without a code, 1006 without a frame";
    MessagesIn: Counter "waystation_messages_received_total" "" "Messages received from clients";
    ReceivedChatMessage: Counter "waystation_commands_total" "type=\"chat_message\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedPublish: Counter "waystation_commands_total" "type=\"publish\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedTripUpdate: Counter "waystation_commands_total" "type=\"trip_update\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedHeartbeat: Counter "waystation_commands_total" "type=\"heartbeat\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedPing: Counter "waystation_commands_total" "type=\"ping\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedPong: Counter "waystation_commands_total" "type=\"pong\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedAuth: Counter "waystation_commands_total" "type=\"auth\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedAck: Counter "waystation_commands_total" "type=\"ack\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedBatch: Counter "waystation_commands_total" "type=\"batch\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedCursorUpdate: Counter "waystation_commands_total" "type=\"cursor_update\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedChatTypingStart: Counter "waystation_commands_total" "type=\"chat_typing_start\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedChatTypingStop: Counter "waystation_commands_total" "type=\"chat_typing_stop\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedAgentStatusUpdate: Counter "waystation_commands_total" "type=\"agent_status_update\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedAgentTaskStart: Counter "waystation_commands_total" "type=\"agent_task_start\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedAgentTaskProgress: Counter "waystation_commands_total" "type=\"agent_task_progress\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedAgentTaskComplete: Counter "waystation_commands_total" "type=\"agent_task_complete\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedAgentError: Counter "waystation_commands_total" "type=\"agent_error\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedToolCallStart: Counter "waystation_commands_total" "type=\"tool_call_start\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedToolCallProgress: Counter "waystation_commands_total" "type=\"tool_call_progress\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedToolCallComplete: Counter "waystation_commands_total" "type=\"tool_call_complete\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedToolCallError: Counter "waystation_commands_total" "type=\"tool_call_error\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedSubscribe: Counter "waystation_commands_total" "type=\"subscribe\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedUnsubscribe: Counter "waystation_commands_total" "type=\"unsubscribe\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedRequest: Counter "waystation_commands_total" "type=\"request\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedResponse: Counter "waystation_commands_total" "type=\"response\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedRegister: Counter "waystation_commands_total" "type=\"register\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedCancel: Counter "waystation_commands_total" "type=\"cancel\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedStartAgent: Counter "waystation_commands_total" "type=\"start_agent\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedStopAgent: Counter "waystation_commands_total" "type=\"stop_agent\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedResourceUsage: Counter "waystation_commands_total" "type=\"resource_usage\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedTripFieldEditingStart: Counter "waystation_commands_total" "type=\"trip_field_editing_start\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedTripFieldEditingStop: Counter "waystation_commands_total" "type=\"trip_field_editing_stop\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedTripCollaborationJoin: Counter "waystation_commands_total" "type=\"trip_collaboration_join\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedTripCollaborationLeave: Counter "waystation_commands_total" "type=\"trip_collaboration_leave\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedFlat: Counter "waystation_commands_total" "type=\"flat\"" "Messages acted on, those of a batch each for itself, by type";
    ReceivedOther: Counter "waystation_commands_total" "type=\"other\"" "Messages acted on, those of a batch each for itself, by type";
    BytesIn: Counter "waystation_received_bytes_total" "" "Bytes received from clients";
    Ignored: Counter "waystation_ignored_total" "" "Flat messages that ask for nothing known";
    Published: Counter "waystation_published_total" "" "Events sequenced by channels at home here";
    PublishedChatMessage: Counter "waystation_events_total" "type=\"chat_message\"" "Events sequenced by channels at home here, by type";
    PublishedTripUpdateBroadcast: Counter "waystation_events_total" "type=\"trip_update_broadcast\"" "Events sequenced by channels at home here, by type";
    PublishedAgentStatusUpdate: Counter "waystation_events_total" "type=\"agent_status_update\"" "Events sequenced by channels at home here, by type";
    PublishedAgentTaskStart: Counter "waystation_events_total" "type=\"agent_task_start\"" "Events sequenced by channels at home here, by type";
    PublishedAgentTaskProgress: Counter "waystation_events_total" "type=\"agent_task_progress\"" "Events sequenced by channels at home here, by type";
    PublishedAgentTaskComplete: Counter "waystation_events_total" "type=\"agent_task_complete\"" "Events sequenced by channels at home here, by type";
    PublishedAgentError: Counter "waystation_events_total" "type=\"agent_error\"" "Events sequenced by channels at home here, by type";
    PublishedToolCallStart: Counter "waystation_events_total" "type=\"tool_call_start\"" "Events sequenced by channels at home here, by type";
    PublishedToolCallProgress: Counter "waystation_events_total" "type=\"tool_call_progress\"" "Events sequenced by channels at home here, by type";
    PublishedToolCallComplete: Counter "waystation_events_total" "type=\"tool_call_complete\"" "Events sequenced by channels at home here, by type";
    PublishedToolCallError: Counter "waystation_events_total" "type=\"tool_call_error\"" "Events sequenced by channels at home here, by type";
    PublishedSystemStats: Counter "waystation_events_total" "type=\"system_stats\"" "Events sequenced by channels at home here, by type";
    PublishedOther: Counter "waystation_events_total" "type=\"other\"" "Events sequenced by channels at home here, by type";
    OwedChatMessage: Counter "waystation_deliveries_total" "type=\"chat_message\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedTripUpdateBroadcast: Counter "waystation_deliveries_total" "type=\"trip_update_broadcast\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedAgentStatusUpdate: Counter "waystation_deliveries_total" "type=\"agent_status_update\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedAgentTaskStart: Counter "waystation_deliveries_total" "type=\"agent_task_start\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedAgentTaskProgress: Counter "waystation_deliveries_total" "type=\"agent_task_progress\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedAgentTaskComplete: Counter "waystation_deliveries_total" "type=\"agent_task_complete\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedAgentError: Counter "waystation_deliveries_total" "type=\"agent_error\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedToolCallStart: Counter "waystation_deliveries_total" "type=\"tool_call_start\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedToolCallProgress: Counter "waystation_deliveries_total" "type=\"tool_call_progress\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedToolCallComplete: Counter "waystation_deliveries_total" "type=\"tool_call_complete\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedToolCallError: Counter "waystation_deliveries_total" "type=\"tool_call_error\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedSystemStats: Counter "waystation_deliveries_total" "type=\"system_stats\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    OwedOther: Counter "waystation_deliveries_total" "type=\"other\"" "Deliveries by type, counted as the event comes: one for each member here but an author that excludes itself";
    Duplicates: Counter "waystation_duplicates_total" "" "Publishes answered from the dedup window";
    Requests: Counter "waystation_requests_total" "" "Requests of clients to services and to history";
    RequestsLate: Counter "waystation_requests_late_total" "" "Requests that nobody answered in time";
    Acknowledged: Counter "waystation_acknowledged_total" "" "Acknowledgements of subscribers that went further";
    GroupDebtsForgotten: Counter "waystation_group_positions_forgotten_total" "" "Channels forgotten with the position of a group that had not acknowledged all of them";
    ConsumersLate: Counter "waystation_consumers_late_total" "" "Channels taken from a consumer of a group that did not acknowledge in time";
    Delivered: Counter "waystation_delivered_total" "" "Channel events written towards members";
    LaneCritical: Counter "waystation_lane_frames_total" "lane=\"critical\"" "Frames written from a lane; the normal lane is what channels deliver";
    LaneHigh: Counter "waystation_lane_frames_total" "lane=\"high\"" "Frames written from a lane; the normal lane is what channels deliver";
    LaneLow: Counter "waystation_lane_frames_total" "lane=\"low\"" "Frames written from a lane; the normal lane is what channels deliver";
    Sends: Counter "waystation_sends_total" "" "Writes to sockets";
    ShortWrites: Counter "waystation_short_writes_total" "" "Writes that the socket took in part or not at all";
    BytesOut: Counter "waystation_sent_bytes_total" "" "Bytes written to sockets";
    Gaps: Counter "waystation_gaps_total" "" "Gaps announced to members that fell off a channel's history";
    Resumed: Counter "waystation_resumes_total" "recovered=\"true\"" "Resumes by outcome";
    ResumeFailed: Counter "waystation_resumes_total" "recovered=\"false\"" "Resumes by outcome";
    StoreRefused: Counter "waystation_store_refused_total" "" "Channels not opened and stretches not read by the store";
    StoreDamaged: Counter "waystation_store_damaged_total" "" "Stretches of stored events that could not be read";
    StoreForgotten: Counter "waystation_store_forgotten_total" "" "Positions of users and groups that were not stored since too much waited";
    ReplaysLate: Counter "waystation_replays_late_total" "" "Times that a client that was behind had to wait for a later turn, since this one had spent its bytes on others";
    ReplayPages: Counter "waystation_replay_pages_total" "" "Stretches of stored events read for members behind a history";
    AnswersFull: Counter "waystation_answers_full_total" "" "Reading paused because a client had not taken its answers";
    OutboxDropped: Counter "waystation_outbox_dropped_total" "" "Low-lane frames dropped at the outbox bound";
    Fleeting: Counter "waystation_fleeting_total" "" "Things told as they happened: typing, cursors, presence";
    FleetingDropped: Counter "waystation_fleeting_dropped_total" "" "Such things that found no place or a full mesh";
    ChannelsEvicted: Counter "waystation_channels_evicted_total" "" "Empty channels forgotten at the shard's bound";
    MeshSent: Counter "waystation_mesh_sent_total" "" "Messages put to other shards";
    MeshReceived: Counter "waystation_mesh_received_total" "" "Messages taken from other shards";
    MeshFull: Counter "waystation_mesh_full_total" "" "Messages that found another shard's inbox full";
    AnswersDropped: Counter "waystation_answers_dropped_total" "" "Answers to the HTTP interface that it had no room for";
    Turns: Counter "waystation_turns_total" "" "Turns of the shard loop";
    Parks: Counter "waystation_parks_total" "" "Times the shard slept";
    Wakes: Counter "waystation_wakes_total" "" "Times the shard woke another";
    RingOverflows: Counter "waystation_ring_overflows_total" "" "Completion queue overflows survived";
    BuffersExhausted: Counter "waystation_buffers_exhausted_total" "" "Receives that found no provided buffer";
    ArrivalsHeld: Counter "waystation_arrivals_held_total" "" "Times that somebody who comes or goes waited for a later turn";
    AcceptFailures: Counter "waystation_accept_failures_total" "" "Accepts that failed for lack of descriptors or memory";
    TickedAt: Gauge "waystation_ticked_micros" "" "Host-monotonic microseconds of the shard's last turn";
}

/// Which version runs: the value of the label is the version, that of the line is 1.
pub const BUILD_INFO: Description = Description {
    family: "waystation_build_info",
    labels: "version=\"…\"",
    kind: Kind::Gauge,
    help: "1, with the version that runs",
};

/// What lies in a shard's inbox: not counted, but worked out of what the shards count.
pub const MESH_DEPTH: Description = Description {
    family: "waystation_mesh_depth",
    labels: "",
    kind: Kind::Gauge,
    help: "Messages of other shards that wait in the shard's inbox",
};

impl Metric {
    /// What the values of several shards are together.
    pub fn together(self, values: impl Iterator<Item = u64>) -> u64 {
        match self.describe().kind {
            Kind::State => values.max().unwrap_or(0),
            Kind::Counter | Kind::Gauge => values.sum(),
        }
    }

    /// Where a connection's end is counted that was told so: the code of its close frame.
    #[must_use]
    pub const fn of_close(code: u16) -> Self {
        match code {
            1000 => Self::Closed1000,
            1001 => Self::Closed1001,
            1002 => Self::Closed1002,
            1003 => Self::Closed1003,
            1005 => Self::Closed1005,
            1006 => Self::Closed1006,
            1007 => Self::Closed1007,
            1008 => Self::Closed1008,
            1009 => Self::Closed1009,
            1011 => Self::Closed1011,
            1012 => Self::Closed1012,
            4000 => Self::Closed4000,
            4001 => Self::Closed4001,
            4003 => Self::Closed4003,
            4008 => Self::Closed4008,
            4009 => Self::Closed4009,
            4010 => Self::Closed4010,
            4013 => Self::Closed4013,
            4029 => Self::Closed4029,
            _ => Self::ClosedOther,
        }
    }

    /// Where an event of this type is counted when it is sequenced, and where its deliveries are.
    #[must_use]
    pub fn of_event(kind: &str) -> (Self, Self) {
        match kind {
            "chat_message" => (Self::PublishedChatMessage, Self::OwedChatMessage),
            "trip_update_broadcast" => (Self::PublishedTripUpdateBroadcast, Self::OwedTripUpdateBroadcast),
            "agent_status_update" => (Self::PublishedAgentStatusUpdate, Self::OwedAgentStatusUpdate),
            "agent_task_start" => (Self::PublishedAgentTaskStart, Self::OwedAgentTaskStart),
            "agent_task_progress" => (Self::PublishedAgentTaskProgress, Self::OwedAgentTaskProgress),
            "agent_task_complete" => (Self::PublishedAgentTaskComplete, Self::OwedAgentTaskComplete),
            "agent_error" => (Self::PublishedAgentError, Self::OwedAgentError),
            "tool_call_start" => (Self::PublishedToolCallStart, Self::OwedToolCallStart),
            "tool_call_progress" => (Self::PublishedToolCallProgress, Self::OwedToolCallProgress),
            "tool_call_complete" => (Self::PublishedToolCallComplete, Self::OwedToolCallComplete),
            "tool_call_error" => (Self::PublishedToolCallError, Self::OwedToolCallError),
            "system_stats" => (Self::PublishedSystemStats, Self::OwedSystemStats),
            _ => (Self::PublishedOther, Self::OwedOther),
        }
    }
}

/// A histogram of microseconds with four buckets to each power of two: 25 % resolution, fixed memory.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; Self::BUCKETS],
    sum: AtomicU64,
}

impl Histogram {
    /// Up to 2^31 microseconds (36 minutes); anything longer counts in the last bucket.
    pub const BUCKETS: usize = 124;

    const fn new() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; Self::BUCKETS], sum: AtomicU64::new(0) }
    }

    /// Adds one observation. Only the owning shard calls this.
    pub fn record(&self, micros: u64) {
        self.record_many(micros, 1);
    }

    /// Adds the same observation so many times.
    pub fn record_many(&self, micros: u64, times: u64) {
        add(&self.buckets[Self::index(micros)], times);
        add(&self.sum, micros.saturating_mul(times));
    }

    /// Count of each bucket.
    pub fn counts(&self) -> impl Iterator<Item = u64> + '_ {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed))
    }

    /// Sum of all observations, in microseconds.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    /// The largest value that bucket `index` holds.
    #[must_use]
    pub const fn upper_bound(index: usize) -> u64 {
        if index < 4 {
            return index as u64;
        }
        let (power, quarter) = (index / 4 + 1, index as u64 % 4);
        (1 << power) + (quarter + 1) * (1 << (power - 2)) - 1
    }

    fn index(micros: u64) -> usize {
        if micros < 4 {
            return usize::try_from(micros).unwrap_or(0);
        }
        let power = 63 - micros.leading_zeros() as usize;
        let quarter = usize::try_from((micros >> (power - 2)) & 3).unwrap_or(0);
        ((power - 1) * 4 + quarter).min(Self::BUCKETS - 1)
    }
}

/// Which histogram. Names and help as in [`Timing::describe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Timing {
    /// From the start of one turn to its end.
    Turn,
    /// From accept to the 101.
    Handshake,
    /// From the event's sequencing to the end of the turn that handed it to the kernel.
    Delivery,
    /// From our ping to its pong.
    RoundTrip,
}

impl Timing {
    /// Every histogram.
    pub const ALL: &'static [Self] = &[Self::Turn, Self::Handshake, Self::Delivery, Self::RoundTrip];

    /// Family name (in microseconds) and help.
    #[must_use]
    pub const fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Turn => ("waystation_turn_micros", "Duration of a shard's turn"),
            Self::Handshake => ("waystation_handshake_micros", "From accept to the switch of protocols"),
            Self::Delivery => (
                "waystation_delivery_micros",
                "From sequencing to the end of the turn that wrote the event, for each member; of several in one write the oldest counts",
            ),
            Self::RoundTrip => ("waystation_round_trip_micros", "From our ping to a client's pong"),
        }
    }
}

/// All numbers of one shard.
#[derive(Debug)]
pub struct Metrics {
    values: [AtomicU64; Metric::ALL.len()],
    timings: [Histogram; Timing::ALL.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            values: [const { AtomicU64::new(0) }; Metric::ALL.len()],
            timings: [const { Histogram::new() }; Timing::ALL.len()],
        }
    }
}

impl Metrics {
    /// Numbers at zero, to be shared between their shard and its readers.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        Arc::default()
    }

    /// Reads a number.
    #[must_use]
    pub fn read(&self, metric: Metric) -> u64 {
        self.values[metric as usize].load(Relaxed)
    }

    /// Adds one. Only the owning shard calls this, as with the other writes.
    pub fn count(&self, metric: Metric) {
        add(&self.values[metric as usize], 1);
    }

    /// Adds `amount`.
    pub fn add(&self, metric: Metric, amount: u64) {
        add(&self.values[metric as usize], amount);
    }

    /// Takes `amount` off a gauge.
    pub fn subtract(&self, metric: Metric, amount: u64) {
        let value = &self.values[metric as usize];
        debug_assert!(value.load(Relaxed) >= amount, "{metric:?} below zero");
        value.store(value.load(Relaxed).saturating_sub(amount), Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, metric: Metric, value: u64) {
        self.values[metric as usize].store(value, Relaxed);
    }

    /// One of the histograms.
    #[must_use]
    pub const fn timing(&self, timing: Timing) -> &Histogram {
        &self.timings[timing as usize]
    }
}

fn add(value: &AtomicU64, amount: u64) {
    value.store(value.load(Relaxed).wrapping_add(amount), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_under_their_type_and_those_of_others_together() {
        let of = |family| Metric::ALL.iter().filter(move |metric| metric.describe().family == family);
        let pairs = of("waystation_events_total").zip(of("waystation_deliveries_total"));
        for (event, deliveries) in pairs {
            let kind = event.describe().label_value();
            assert_eq!(Metric::of_event(kind), (*event, *deliveries), "{kind}");
            assert_eq!(deliveries.describe().label_value(), kind);
        }
        assert_eq!(of("waystation_events_total").count(), of("waystation_deliveries_total").count());
        for kind in ["", "note", "chat_messages", "Chat_message"] {
            assert_eq!(Metric::of_event(kind), (Metric::PublishedOther, Metric::OwedOther), "{kind:?}");
        }
    }

    #[test]
    fn the_same_observation_many_times_is_as_many_observations() {
        let metrics = Metrics::default();
        let histogram = metrics.timing(Timing::Delivery);
        histogram.record_many(7, 5);
        histogram.record_many(7, 0);
        (0..5).for_each(|_| metrics.timing(Timing::Turn).record(7));
        assert!(histogram.counts().eq(metrics.timing(Timing::Turn).counts()));
        assert_eq!((histogram.counts().sum::<u64>(), histogram.sum()), (5, 35));
        histogram.record_many(u64::MAX, 2);
        assert_eq!(histogram.counts().last(), Some(2));
    }

    #[test]
    fn of_how_something_is_the_highest_holds_and_of_how_much_the_sum() {
        for metric in Metric::ALL {
            let row = metric.describe();
            let is_state = row.help.starts_with("1 while ")
                || row.help.starts_with("Counts the ")
                || row.help.contains(" the whole process ");
            assert_eq!(row.kind == Kind::State, is_state, "{}", row.family);
            assert_eq!(metric.together([2, 1, 2].into_iter()), if is_state { 2 } else { 5 }, "{}", row.family);
            assert_eq!(metric.together(std::iter::empty()), 0);
        }
    }

    #[test]
    fn a_family_stands_together_and_has_one_kind_and_one_help() {
        let mut done: Vec<&str> = Vec::new();
        let mut last: Option<Description> = None;
        for row in Metric::ALL.iter().map(|metric| metric.describe()) {
            if let Some(before) = last.filter(|before| before.family == row.family) {
                assert_eq!((before.kind, before.help), (row.kind, row.help), "{}", row.family);
                assert_ne!(before.labels, row.labels, "{}", row.family);
            } else {
                assert!(!done.contains(&row.family), "{} stands in two places", row.family);
                done.push(row.family);
            }
            assert_eq!(row.family.ends_with("_total"), row.kind == Kind::Counter, "{}", row.family);
            last = Some(row);
        }
    }

    #[test]
    fn every_value_falls_into_the_bucket_that_bounds_it() {
        for value in (0..5000).chain([1 << 20, (1 << 31) - 1, u64::MAX]) {
            let index = Histogram::index(value);
            assert!(index == Histogram::BUCKETS - 1 || value <= Histogram::upper_bound(index), "{value}");
            assert!(index == 0 || value > Histogram::upper_bound(index - 1), "{value}");
        }
    }

    #[test]
    fn gauges_go_both_ways() {
        let metrics = Metrics::default();
        metrics.add(Metric::Connections, 3);
        metrics.subtract(Metric::Connections, 2);
        assert_eq!(metrics.read(Metric::Connections), 1);
        metrics.timing(Timing::Turn).record(10);
        assert_eq!((metrics.timing(Timing::Turn).counts().sum::<u64>(), metrics.timing(Timing::Turn).sum()), (1, 10));
    }
}
