//! Bounds of what one message may hold, in either dialect.

// Floor 2: envelope

/// Nesting of a JSON text; deeper: `INVALID_JSON`.
pub const JSON_DEPTH_MAX: usize = 32;
/// Blanks between two tokens of a JSON text that is read byte by byte; a text with more goes to the reader that passes
/// over 64 bytes at a time. Deeper than programs indent what they send.
pub const JSON_BLANKS_MAX: usize = 32;
/// Bytes of an authentication frame; over it: close 4000.
pub const AUTH_FRAME_BYTES_MAX: usize = 24 * 1024;
/// Channels in one authentication frame or `subscribe`; over it: `INVALID_MESSAGE_FORMAT`.
pub const CHANNELS_PER_MESSAGE_MAX: usize = 50;
/// Bytes of a channel name; over it: `CHANNEL_NOT_FOUND`. A prefix of 16 and the longest resource id.
pub const CHANNEL_NAME_BYTES_MAX: usize = 144;
/// Bytes of an operation id; over it: `INVALID_MESSAGE_FORMAT`.
pub const OPERATION_ID_BYTES_MAX: usize = 128;
/// Bytes of a message's or event's type, of a role, and of a method's or group's name; over it:
/// `INVALID_MESSAGE_FORMAT`.
pub const EVENT_TYPE_BYTES_MAX: usize = 64;
/// Largest position and largest whole number read from a client: what a JavaScript number holds exactly.
/// Over it: `INVALID_MESSAGE_FORMAT`.
pub const SEQ_MAX: u64 = (1 << 53) - 1;
/// Bytes of a client's name and of its version in an authentication frame; over it: close 4000.
pub const CLIENT_NAME_BYTES_MAX: usize = 64;
/// Fields in one `trip_update`; over it: `INVALID_MESSAGE_FORMAT`. Each is compared with the others, so it is small.
pub const CHANGES_PER_UPDATE_MAX: usize = 64;
/// Bytes of a field's path; over it: `INVALID_MESSAGE_FORMAT`. Sixteen names of sixteen bytes.
pub const FIELD_NAME_BYTES_MAX: usize = 256;
/// Bytes of a timestamp that a pong repeats; a longer one is left out. An RFC 3339 instant takes 26 to 40.
pub const ECHOED_TIMESTAMP_BYTES_MAX: usize = 64;

/// Messages in one `batch`; over it: `INVALID_MESSAGE_FORMAT`. The seeds' client sends 10 at a time.
pub const BATCH_MESSAGES_MAX: usize = 100;
/// Messages of a `batch` that one token of the sender's rate pays for: a batch saves the server work.
pub const BATCH_MESSAGES_PER_TOKEN: usize = 10;
/// Events in one `batch` towards a client that asked for it; over it another frame begins.
pub const BUNDLE_EVENTS_MAX: usize = 10;
/// Bytes of the events in one such frame; over it another frame begins. An event that is larger goes alone.
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024;
/// Methods in one `register`; over it: `INVALID_MESSAGE_FORMAT`. As many as channels in a `subscribe`.
pub const METHODS_PER_MESSAGE_MAX: usize = 50;
