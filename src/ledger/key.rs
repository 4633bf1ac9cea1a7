//! The keys: big-endian numbers, so that a channel's records lie together and its events in their order.

use crate::ids::Seq;
use crate::limits::STORED_NUMBER_MAX;

use super::contract::ChannelNumber;
use super::record::Kind;

/// The store's own state.
pub(super) const STATE: &[u8] = b"s";
/// The number of the last commit.
pub const COMMIT: &[u8] = b"t";

const NAME: u8 = b'c';
const LINE: u8 = b'l';
const CURSOR: u8 = b'u';
const POSITION: u8 = b'g';

/// An event, or its stub.
pub(super) fn event(channel: ChannelNumber, seq: Seq) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&channel.0.to_be_bytes());
    key[8..].copy_from_slice(&seq.0.to_be_bytes());
    key
}

/// The channel and the seq of an event's key; `None` for one that no event has.
pub(super) fn of_event(key: &[u8]) -> Option<(ChannelNumber, Seq)> {
    let (channel, seq) = key.split_first_chunk::<8>()?;
    Some((ChannelNumber(number_of(*channel)?), Seq(number_of(seq.try_into().ok()?)?)))
}

fn number_of(bytes: [u8; 8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes)).filter(|number| *number <= STORED_NUMBER_MAX)
}

/// An event's place in the log as one number, in the order of keys.
pub(super) fn whole((channel, seq): (ChannelNumber, Seq)) -> u128 {
    u128::from_be_bytes(event(channel, seq))
}

/// The place of such a number.
pub(super) fn of_whole(whole: u128) -> [u8; 16] {
    whole.to_be_bytes()
}

/// Where a channel's number stands.
pub(super) fn number(name: &str) -> Vec<u8> {
    [&[NAME], name.as_bytes()].concat()
}

/// A channel's epochs and bounds.
pub(super) fn line(channel: ChannelNumber) -> [u8; 9] {
    tagged(LINE, channel)
}

/// The channel of a line's key.
pub(super) fn of_line(key: &[u8]) -> Option<ChannelNumber> {
    let number = key.strip_prefix(&[LINE])?;
    number_of(number.try_into().ok()?).map(ChannelNumber)
}

/// How far a user has acknowledged.
pub(super) fn cursor(channel: ChannelNumber, user: &str) -> Vec<u8> {
    [&tagged(CURSOR, channel), user.as_bytes()].concat()
}

/// The first and the last key that cursors of a channel can have.
pub(super) fn cursors(channel: ChannelNumber) -> (Vec<u8>, Vec<u8>) {
    below(CURSOR, channel)
}

/// How far a group of consumers has acknowledged.
pub(super) fn position(channel: ChannelNumber, group: &str) -> Vec<u8> {
    [&tagged(POSITION, channel), group.as_bytes()].concat()
}

/// The first and the last key that positions of a channel can have.
pub(super) fn positions(channel: ChannelNumber) -> (Vec<u8>, Vec<u8>) {
    below(POSITION, channel)
}

/// Which kind of row stands under a key that begins with a tag.
pub(super) fn kind(key: &[u8]) -> Option<Kind> {
    Some(match *key.first()? {
        NAME => Kind::Number,
        LINE => Kind::Line,
        CURSOR => Kind::Cursor,
        POSITION => Kind::Position,
        _ => return None,
    })
}

/// The name of the channel whose number stands under a key.
pub(super) fn name(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(&[NAME])?).ok()
}

/// What follows tag and channel, as text.
pub(super) fn suffix(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(9..)?).ok()
}

fn tagged(tag: u8, channel: ChannelNumber) -> [u8; 9] {
    let mut key = [tag; 9];
    key[1..].copy_from_slice(&channel.0.to_be_bytes());
    key
}

fn below(tag: u8, channel: ChannelNumber) -> (Vec<u8>, Vec<u8>) {
    let first = tagged(tag, channel).to_vec();
    // No text begins with this byte, so nothing of the channel lies behind.
    let last = [first.as_slice(), &[0xff]].concat();
    (first, last)
}
