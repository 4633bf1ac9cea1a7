//! What the gateway itself says to flat clients: to one about its connection, to a room about who is there.

use super::TripRef;
use super::outgoing::write_trip_id;
use crate::code::ErrorCode;
use crate::envelope::event::{write_field, write_instant, write_key, write_number_field, write_string};

/// What a room is told of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It came by `join_trip`.
    Joined,
    /// It went by `leave_trip`, or its socket dropped.
    Left,
    /// It opened the endpoint of the trip.
    JoinedTrip,
    /// Its socket on the endpoint of the trip is gone.
    LeftTrip,
}

impl News {
    /// The type of the frame.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Joined => "user_joined",
            Self::Left => "user_left",
            Self::JoinedTrip => "user_joined_trip",
            Self::LeftTrip => "user_left_trip",
        }
    }

    /// Whether the member is there afterwards.
    #[must_use]
    pub const fn is_arrival(self) -> bool {
        matches!(self, Self::Joined | Self::JoinedTrip)
    }
}

fn open(kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":");
    write_string(kind, out);
}

fn close_at(unix_ms: u64, out: &mut Vec<u8>) {
    write_key("timestamp", out);
    write_instant(unix_ms, out);
    out.push(b'}');
}

fn write_trip_field(trip: TripRef<'_>, out: &mut Vec<u8>) {
    write_key("trip_id", out);
    write_trip_id(trip, out);
}

/// Appends `connection`, the first frame on the endpoint of a user.
pub fn write_connection(user: &str, unix_ms: u64, out: &mut Vec<u8>) {
    open("connection", out);
    write_field("status", "connected", out);
    write_field("user_id", user, out);
    write_field("message", "WebSocket connection established", out);
    close_at(unix_ms, out);
}

/// Appends `trip_connection`, the first frame on the endpoint of a trip.
pub fn write_trip_connection(user: &str, trip_id: &str, active_users: u64, unix_ms: u64, out: &mut Vec<u8>) {
    open("trip_connection", out);
    write_field("status", "connected", out);
    write_field("trip_id", trip_id, out);
    write_field("user_id", user, out);
    write_number_field("active_users", active_users, out);
    close_at(unix_ms, out);
}

/// Appends `pong`; `timestamp` is raw JSON.
pub fn write_pong(timestamp: &str, out: &mut Vec<u8>) {
    open("pong", out);
    write_key("timestamp", out);
    out.extend_from_slice(timestamp.as_bytes());
    out.push(b'}');
}

/// Appends `error`: a message was refused, and the socket stays.
pub fn write_error(code: ErrorCode, message: &str, unix_ms: u64, out: &mut Vec<u8>) {
    open("error", out);
    write_field("code", code.name(), out);
    write_field("message", message, out);
    close_at(unix_ms, out);
}

/// Appends what a room is told of a member.
pub fn write_news(news: News, user: &str, trip: TripRef<'_>, unix_ms: u64, out: &mut Vec<u8>) {
    open(news.kind(), out);
    write_field("user_id", user, out);
    write_trip_field(trip, out);
    close_at(unix_ms, out);
}

/// Appends `user_typing`; `field` is raw JSON.
pub fn write_typing(user: &str, trip: TripRef<'_>, field: &str, unix_ms: u64, out: &mut Vec<u8>) {
    open("user_typing", out);
    write_trip_field(trip, out);
    write_field("user_id", user, out);
    write_key("field", out);
    out.extend_from_slice(field.as_bytes());
    close_at(unix_ms, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::globetrotter::IdForm;

    const AT: u64 = 1_767_441_600_000;

    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert!(serde_json::from_str::<serde_json::Value>(expected).unwrap().is_object());
    }

    #[test]
    fn every_frame_has_the_form_of_the_dialect() {
        let seven = TripRef { id: "7", form: IdForm::Number };
        let named = TripRef { id: "a\"b", form: IdForm::Text };
        check(
            |out| write_connection("ada", AT, out),
            r#"{"type":"connection","status":"connected","user_id":"ada","message":"WebSocket connection established","timestamp":"2026-01-03T12:00:00.000Z"}"#,
        );
        check(
            |out| write_trip_connection("ada", "t", 3, AT, out),
            r#"{"type":"trip_connection","status":"connected","trip_id":"t","user_id":"ada","active_users":3,"timestamp":"2026-01-03T12:00:00.000Z"}"#,
        );
        check(|out| write_pong("null", out), r#"{"type":"pong","timestamp":null}"#);
        check(|out| write_pong("1.50", out), r#"{"type":"pong","timestamp":1.50}"#);
        check(
            |out| write_error(ErrorCode::InvalidJson, "no", AT, out),
            r#"{"type":"error","code":"INVALID_JSON","message":"no","timestamp":"2026-01-03T12:00:00.000Z"}"#,
        );
        check(
            |out| write_typing("ada", named, r#""day 1""#, AT, out),
            r#"{"type":"user_typing","trip_id":"a\"b","user_id":"ada","field":"day 1","timestamp":"2026-01-03T12:00:00.000Z"}"#,
        );
        for (news, kind) in [
            (News::Joined, "user_joined"),
            (News::Left, "user_left"),
            (News::JoinedTrip, "user_joined_trip"),
            (News::LeftTrip, "user_left_trip"),
        ] {
            let expected =
                format!(r#"{{"type":"{kind}","user_id":"ada","trip_id":7,"timestamp":"2026-01-03T12:00:00.000Z"}}"#);
            check(|out| write_news(news, "ada", seven, AT, out), &expected);
            assert_eq!(news.is_arrival(), kind.contains("joined"));
        }
    }
}
