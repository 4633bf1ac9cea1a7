//! What is said to those who ask and to those who answer, and to the author of an event without a channel.

use super::{Answered, Stamp, write_as, write_connection, write_list};
use crate::code::ErrorCode;
use crate::envelope::event::{
    EventHead, write_event, write_field, write_instant, write_key, write_number_field, write_optional_field,
    write_string,
};
use crate::ids::ConnectionName;

/// Why a request has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered<'a> {
    /// What the gateway says.
    Code(ErrorCode, &'a str),
    /// What the provider says: a raw JSON object.
    Told(&'a [u8]),
}

/// Appends `response`; a result is raw JSON.
pub fn write_response(stamp: Stamp, id: &str, outcome: Result<&[u8], Unanswered<'_>>, out: &mut Vec<u8>) {
    stamp.write("response", out, |out| {
        write_field("id", id, out);
        match outcome {
            Ok(result) => {
                write_key("result", out);
                out.extend_from_slice(result);
            }
            Err(Unanswered::Told(error)) => {
                write_key("error", out);
                out.extend_from_slice(error);
            }
            Err(Unanswered::Code(code, message)) => {
                out.extend_from_slice(b",\"error\":{\"retryable\":");
                out.extend_from_slice(if code.retryable() { b"true" } else { b"false" });
                write_field("code", code.name(), out);
                write_field("message", message, out);
                if let Some(ms) = code.retry_after_ms() {
                    write_number_field("retry_after_ms", ms, out);
                }
                out.push(b'}');
            }
        }
    });
}

/// A request as the connection sees it that is to answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The gateway's id for it.
    pub id: &'a str,
    /// What is asked for.
    pub method: &'a str,
    /// Raw JSON.
    pub params: &'a [u8],
    /// The authenticated user who asks.
    pub user_id: &'a str,
    /// The connection that asks.
    pub connection: ConnectionName,
    /// The trace that it belongs to, if who answers is told of it.
    pub traceparent: Option<&'a str>,
}

/// Appends `request`.
pub fn write_request(stamp: Stamp, asked: &Asked<'_>, out: &mut Vec<u8>) {
    let head = EventHead { traceparent: asked.traceparent, ..stamp.head("request") };
    write_as(&head, out, |out| {
        write_field("id", asked.id, out);
        write_field("method", asked.method, out);
        write_key("params", out);
        out.extend_from_slice(asked.params);
        write_field("user_id", asked.user_id, out);
        write_connection("connection_id", asked.connection, out);
    });
}

/// Appends `cancel`: nobody waits for the answer any more.
pub fn write_cancel(stamp: Stamp, id: &str, out: &mut Vec<u8>) {
    stamp.write("cancel", out, |out| write_field("id", id, out));
}

/// Appends `register_response`; what failed is named in raw JSON strings.
pub fn write_register_response(
    stamp: Stamp,
    id: Option<&str>,
    taken: &[Box<str>],
    failed: &[(Box<str>, ErrorCode)],
    out: &mut Vec<u8>,
) {
    stamp.write("register_response", out, |out| {
        write_optional_field("id", id, out);
        write_key("success", out);
        out.extend_from_slice(if failed.is_empty() { b"true" } else { b"false" });
        write_list("registered_methods", taken, out, |method, out| write_string(method, out));
        write_list("failed_methods", failed, out, |(method, _), out| out.extend_from_slice(method.as_bytes()));
        write_list("failures", failed, out, |(method, code), out| {
            out.extend_from_slice(b"{\"method\":");
            out.extend_from_slice(method.as_bytes());
            write_field("code", code.name(), out);
            out.push(b'}');
        });
    });
}

/// An event that goes to connections and not to a channel.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Its type.
    pub kind: &'a str,
    /// The author's operation id.
    pub op_id: Option<&'a str>,
    /// The authenticated sender.
    pub user_id: &'a str,
    /// The trace that it belongs to, if who gets it is told.
    pub traceparent: Option<&'a str>,
    /// A raw JSON object.
    pub payload: &'a [u8],
}

/// Appends an event that goes to connections and not to a channel.
pub fn write_direct(stamp: Stamp, sent: &Sent<'_>, out: &mut Vec<u8>) {
    let Sent { kind, op_id, user_id, traceparent, payload } = *sent;
    let head = EventHead { op_id, user_id: Some(user_id), traceparent, ..stamp.head(kind) };
    write_event(&head, payload, out);
}

/// Appends the `ack` of an event that has no place in a channel.
pub fn write_direct_ack(stamp: Stamp, id: &str, target: &str, answered: Answered, out: &mut Vec<u8>) {
    stamp.write("ack", out, |out| {
        write_field("id", id, out);
        write_field("channel", target, out);
        if answered == Answered::Duplicate {
            out.extend_from_slice(b",\"duplicate\":true");
        }
    });
}

/// Appends the result of `time`.
pub fn write_time(unix_ms: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":");
    write_instant(unix_ms, out);
    write_number_field("unix_ms", unix_ms, out);
    out.push(b'}');
}

/// Appends a result that is a list of numbers with names of ours.
pub fn write_numbers(numbers: &[(&str, u64)], out: &mut Vec<u8>) {
    super::write_object(out.len(), out, |out| {
        for (name, number) in numbers {
            write_number_field(name, *number, out);
        }
    });
}

/// What of a channel's history a result holds.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The channel.
    pub channel: &'a str,
    /// Its run of positions, last and oldest event; `None` for a channel that nobody knows.
    pub place: Option<(crate::ids::Epoch, crate::ids::Seq, crate::ids::Seq)>,
    /// Whether there are more beyond the last one here.
    pub more: bool,
    /// From the first to the last of events that were stored and cannot be read.
    pub lost: &'a [(crate::ids::Seq, crate::ids::Seq)],
}

/// Appends the result of `history`; events are raw JSON.
pub fn write_history<'a>(page: &Page<'_>, events: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    super::write_object(out.len(), out, |out| {
        write_field("channel", page.channel, out);
        if let Some((epoch, seq, oldest)) = page.place {
            crate::envelope::event::write_epoch_field(epoch, out);
            write_number_field("seq", seq.0, out);
            write_number_field("oldest_seq", oldest.0, out);
        }
        write_key("more", out);
        out.extend_from_slice(if page.more { b"true" } else { b"false" });
        if !page.lost.is_empty() {
            write_key("lost", out);
            out.push(b'[');
            for (index, (first, last)) in page.lost.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                super::write_object(out.len(), out, |out| {
                    write_number_field("from_seq", first.0, out);
                    write_number_field("to_seq", last.0, out);
                });
            }
            out.push(b']');
        }
        write_key("events", out);
        out.push(b'[');
        for (index, event) in events.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(event);
        }
        out.push(b']');
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::OVERLOADED_RETRY_MS;
    use serde_json::{Value, json};

    const STAMP: Stamp = Stamp { id: 7, unix_ms: 1_700_000_000_000, encoding: crate::envelope::Encoding::TRIPSAGE };

    fn check(write: impl FnOnce(&mut Vec<u8>), kind: &str, payload: &Value) {
        let mut out = Vec::new();
        write(&mut out);
        let event: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((event["type"].as_str(), &event["payload"]), (Some(kind), payload));
        assert!(event["id"].is_string() && event["timestamp"].is_string());
    }

    #[test]
    fn an_answer_holds_a_result_or_an_error() {
        check(
            |out| write_response(STAMP, "q\"1", Ok(b"[1,2]"), out),
            "response",
            &json!({ "id": "q\"1", "result": [1, 2] }),
        );
        check(
            |out| write_response(STAMP, "q", Err(Unanswered::Told(b"{\"code\":\"MINE\"}")), out),
            "response",
            &json!({ "id": "q", "error": { "code": "MINE" } }),
        );
        check(
            |out| write_response(STAMP, "q", Err(Unanswered::Code(ErrorCode::Overloaded, "later")), out),
            "response",
            &json!({ "id": "q", "error": {
                "code": "OVERLOADED", "message": "later", "retryable": true, "retry_after_ms": OVERLOADED_RETRY_MS } }),
        );
    }

    #[test]
    fn who_offers_to_answer_is_told_what_became_of_each_method() {
        let failed = [(Box::from("\"a\\tb\""), ErrorCode::InvalidMessageFormat)];
        check(
            |out| write_register_response(STAMP, Some("1"), &[Box::from("plan")], &failed, out),
            "register_response",
            &json!({
                "id": "1", "success": false, "registered_methods": ["plan"], "failed_methods": ["a\tb"],
                "failures": [{ "method": "a\tb", "code": "INVALID_MESSAGE_FORMAT" }],
            }),
        );
        check(
            |out| write_register_response(STAMP, None, &[], &[], out),
            "register_response",
            &json!({ "success": true, "registered_methods": [], "failed_methods": [], "failures": [] }),
        );
    }

    #[test]
    fn who_answers_is_told_who_asks() {
        let asked = Asked {
            id: "0-1",
            method: "plan",
            params: b"{\"a\":1}",
            user_id: "ann",
            connection: ConnectionName(255),
            traceparent: None,
        };
        let expected = json!({
            "id": "0-1", "method": "plan", "params": { "a": 1 }, "user_id": "ann",
            "connection_id": "000000000000000000000000000000ff",
        });
        check(|out| write_request(STAMP, &asked, out), "request", &expected);
        let traced = Asked { traceparent: Some("00-1-2-01"), ..asked };
        check(|out| write_request(STAMP, &traced, out), "request", &expected);
        check(|out| write_cancel(STAMP, "0-1", out), "cancel", &json!({ "id": "0-1" }));
        let write = |out: &mut Vec<u8>| write_direct_ack(STAMP, "op", "*", Answered::Duplicate, out);
        check(write, "ack", &json!({ "id": "op", "channel": "*", "duplicate": true }));
        let sent = Sent { kind: "note", op_id: Some("op"), user_id: "svc", traceparent: None, payload: b"{}" };
        let write = |out: &mut Vec<u8>| write_direct(STAMP, &sent, out);
        check(write, "note", &json!({}));
    }
}
