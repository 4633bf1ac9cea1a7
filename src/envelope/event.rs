//! Events as they go to TripSage clients: the envelope of protocol.md section 3.
//!
//! Everything is appended to a buffer that the caller keeps, in one pass and without allocation. What is
//! absent is left out: a `null` makes the shipped clients drop the whole event. Strings of ours are escaped
//! here; payloads come as JSON and are copied byte for byte.

use super::encoding::Encoding;
use super::plain::is_plain;
use super::tripsage;
use crate::ids::{Epoch, Seq};
use crate::time::{Rfc3339, rfc3339};
use std::ops::Range;

/// All of an event but its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventHead<'a> {
    /// The event's id, a UUID of version 7: see [`event_id`].
    pub id: u128,
    /// The event's type.
    pub kind: &'a str,
    /// When it was made.
    pub unix_ms: u64,
    /// The same as text, if it is at hand.
    pub instant: Option<&'a Rfc3339>,
    /// The channel by its own name; written in the form that `encoding` asks for.
    pub channel: Option<&'a str>,
    /// Position in the channel.
    pub seq: Option<Seq>,
    /// The run that `seq` belongs to.
    pub epoch: Option<Epoch>,
    /// The author's operation id.
    pub op_id: Option<&'a str>,
    /// The authenticated sender.
    pub user_id: Option<&'a str>,
    /// The chat session.
    pub session_id: Option<&'a str>,
    /// The trace that it belongs to, as [`super::trace::read`] gives it.
    pub traceparent: Option<&'a str>,
    /// How the channel is named.
    pub encoding: Encoding,
}

/// A UUID of version 7 (RFC 9562 section 5.7) from the time and 74 bits of `entropy`.
#[must_use]
pub const fn event_id(unix_ms: u64, entropy: u128) -> u128 {
    let time = (unix_ms as u128) << 80;
    let random = entropy & !(0xffff_ffff_ffff_f000_c000_0000_0000_0000);
    time | 0x7000 << 64 | 0x8 << 60 | random
}

/// Appends an event. Returns where in `out` the payload lies.
pub fn write_event(head: &EventHead<'_>, payload: &[u8], out: &mut Vec<u8>) -> Range<usize> {
    let start = open_event(head, out);
    out.extend_from_slice(payload);
    let end = out.len();
    close_event(out);
    start..end
}

/// The type of an event as [`open_event`] wrote it: what stands up to the next quotation mark, as no name of ours has one.
#[must_use]
pub fn kind_of(event: &[u8]) -> &str {
    let rest = event.get(OPENING.len()..).unwrap_or_default();
    let end = memchr::memchr(b'"', rest).unwrap_or(0);
    std::str::from_utf8(&rest[..end]).unwrap_or_default()
}

/// The id of an event as [`open_event`] wrote it.
#[must_use]
pub fn id_of(event: &[u8]) -> u128 {
    let digits = event.get(7..43).unwrap_or_default().iter().filter_map(|digit| char::from(*digit).to_digit(16));
    digits.fold(0, |id, digit| id << 4 | u128::from(digit))
}

/// How [`open_event`] names a sender.
#[must_use]
pub fn sender_field(user_id: &str) -> Vec<u8> {
    let mut field = Vec::new();
    write_text(SENDER, user_id, "", &mut field);
    field
}

/// Whether an event as [`open_event`] wrote it names a sender, by its [`sender_field`]. Quotation marks in a text are
/// escaped, so that the first of what is sought is the envelope's own.
#[must_use]
pub fn is_sent_by(event: &[u8], sender_field: &[u8]) -> bool {
    let head = memchr::memmem::find(event, PAYLOAD).map_or(event, |end| &event[..end]);
    memchr::memmem::find(head, sender_field).is_some()
}

/// What stands before a sender, and before a payload.
const SENDER: &[u8] = b",\"user_id\":\"";
const PAYLOAD: &[u8] = b",\"payload\":";

/// How every event begins, up to the name of its type.
const OPENING: [u8; 53] = *b"{\"id\":\"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx\",\"type\":\"";

/// Appends an event up to its payload, and returns where that begins.
pub fn open_event(head: &EventHead<'_>, out: &mut Vec<u8>) -> usize {
    let mut opening = OPENING;
    opening[7..43].copy_from_slice(&uuid(head.id));
    out.extend_from_slice(&opening);
    write_escaped(head.kind, out);
    let mut timestamp = *b"\",\"timestamp\":\"0000-00-00T00:00:00.000Z\"";
    timestamp[15..39].copy_from_slice(&head.instant.copied().unwrap_or_else(|| rfc3339(head.unix_ms)));
    out.extend_from_slice(&timestamp);
    if let Some(channel) = head.channel {
        let (prefix, rest) = tripsage::name_in(head.encoding, channel);
        write_text(b",\"channel\":\"", prefix, rest, out);
    }
    if let Some(seq) = head.seq {
        out.extend_from_slice(b",\"seq\":");
        write_number(seq.0, out);
    }
    if let Some(epoch) = head.epoch {
        write_epoch_field(epoch, out);
    }
    if let Some(op_id) = head.op_id {
        write_text(b",\"op_id\":\"", op_id, "", out);
    }
    if let Some(user_id) = head.user_id {
        write_text(SENDER, user_id, "", out);
    }
    if let Some(session_id) = head.session_id {
        write_text(b",\"session_id\":\"", session_id, "", out);
    }
    if let Some(traceparent) = head.traceparent {
        // It holds digits and hyphens, nothing to escape.
        out.extend_from_slice(b",\"traceparent\":\"");
        out.extend_from_slice(traceparent.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(PAYLOAD);
    out.len()
}

/// Ends an event whose payload was appended after [`open_event`].
pub fn close_event(out: &mut Vec<u8>) {
    out.push(b'}');
}

/// Appends a channel's name as a JSON string, in the form that an encoding asks for.
pub fn write_channel(encoding: Encoding, channel: &str, out: &mut Vec<u8>) {
    let (prefix, rest) = tripsage::name_in(encoding, channel);
    write_text(b"\"", prefix, rest, out);
}

/// Appends a JSON string, given in two pieces, after `opening`, which ends with its quote. Whoever writes many knows
/// what comes before each, so that it is one piece with the quote.
pub(super) fn write_text(opening: &[u8], first: &str, second: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(opening);
    write_escaped(first, out);
    if !second.is_empty() {
        write_escaped(second, out);
    }
    out.push(b'"');
}

/// Appends a JSON string.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    write_text(b"\"", text, "", out);
}

/// Appends a wall-clock instant as a JSON string.
pub fn write_instant(unix_ms: u64, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(&rfc3339(unix_ms));
    out.push(b'"');
}

/// Appends a number in decimal.
pub fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10).to_le_bytes()[0];
        number /= 10;
        at -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the name of a member that follows another; names are ours and need no escape.
pub(super) fn write_key(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

pub(super) fn write_field(name: &str, text: &str, out: &mut Vec<u8>) {
    write_key(name, out);
    write_string(text, out);
}

pub(super) fn write_optional_field(name: &str, text: Option<&str>, out: &mut Vec<u8>) {
    if let Some(text) = text {
        write_field(name, text, out);
    }
}

pub(super) fn write_number_field(name: &str, number: u64, out: &mut Vec<u8>) {
    write_key(name, out);
    write_number(number, out);
}

pub(super) fn write_epoch_field(epoch: Epoch, out: &mut Vec<u8>) {
    let mut field = *b",\"epoch\":\"0000000000000000\"";
    let [high, low] = [epoch.0 >> 32, epoch.0 & 0xffff_ffff].map(|half| hex8(u32::try_from(half).unwrap_or(0)));
    field[10..18].copy_from_slice(&high);
    field[18..26].copy_from_slice(&low);
    out.extend_from_slice(&field);
}

/// The eight hexadecimal digits of a number, all at once: a nibble to a byte, then each to its character.
fn hex8(number: u32) -> [u8; 8] {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let mut nibbles = u64::from(number);
    nibbles = (nibbles | nibbles << 16) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles | nibbles << 8) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles | nibbles << 4) & (ONES * 0x0f);
    // From ten on the sum has a bit above the nibble, which tells the letters.
    let letters = ((nibbles + ONES * 6) >> 4) & ONES;
    (nibbles + ONES * u64::from(b'0') + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// The 32 hexadecimal digits of a number.
fn hex32(number: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    let (words, _) = digits.as_chunks_mut::<8>();
    for (digits, bytes) in words.iter_mut().zip(number.to_be_bytes().as_chunks::<4>().0) {
        *digits = hex8(u32::from_be_bytes(*bytes));
    }
    digits
}

/// Appends the lowest `N` hexadecimal digits of a number.
pub(super) fn write_hex<const N: usize>(number: u128, out: &mut Vec<u8>) {
    out.extend_from_slice(&hex32(number)[32 - N..]);
}

/// An id in its canonical text form (RFC 9562 section 4).
#[must_use]
pub fn uuid_text(id: u128) -> String {
    String::from_utf8(uuid(id).to_vec()).unwrap_or_default()
}

/// A UUID in its canonical form (RFC 9562 section 4): 8, 4, 4, 4 and 12 digits.
fn uuid(id: u128) -> [u8; 36] {
    let digits = hex32(id);
    let mut text = [b'-'; 36];
    for (from, to) in [(0..8, 0..8), (8..12, 9..13), (12..16, 14..18), (16..20, 19..23), (20..32, 24..36)] {
        text[to].copy_from_slice(&digits[from]);
    }
    text
}

/// Appends text with the escapes that RFC 8259 section 7 demands, and no others.
fn write_escaped(text: &str, out: &mut Vec<u8>) {
    if is_plain(text) {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        match special[0] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            quoted @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', quoted]),
            control => {
                out.extend_from_slice(b"\\u");
                write_hex::<4>(u128::from(control), out);
            }
        }
        rest = &special[1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests;
