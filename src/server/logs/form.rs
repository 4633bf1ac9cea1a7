//! The forms of a line: text for people, JSON, logfmt.
//!
//! What comes from outside can break none of them: control characters, quotes and line ends are written as escapes, so a
//! line is always one line.

use std::fmt::Write as _;

use crate::audit::Entry;
use crate::config::LogFormat;
use crate::limits::LOG_VALUE_BYTES_MAX;
use crate::mesh::{Level, Line, Value};
use crate::time::rfc3339;

/// Appends a line, its end included.
pub(super) fn write(line: &Line, form: LogFormat, out: &mut Vec<u8>) {
    let mut text = String::new();
    let _infallible = match form {
        LogFormat::Text => write_text(line, &mut text),
        LogFormat::Json => write_json(line, &mut text),
        LogFormat::Logfmt => write_logfmt(line, &mut text),
    };
    text.push('\n');
    out.extend_from_slice(text.as_bytes());
}

/// An entry of the audit as a line.
pub(super) fn line_of(entry: Entry) -> Line {
    let Entry { unix_ms, act, connection, user, peer, code, reason } = entry;
    let mut fields = Vec::new();
    fields.extend(connection.map(|name| ("connection", Value::from(name.to_string()))));
    fields.extend(user.map(|user| ("user", Value::from(&*user))));
    fields.extend(peer.map(|peer| ("peer", Value::from(peer.to_string()))));
    fields.extend(code.map(|code| ("code", Value::from(u64::from(code)))));
    fields.extend((!reason.is_empty()).then(|| ("reason", Value::from(&*reason))));
    Line { unix_ms, level: Level::Info, target: "waystation::audit", message: act.into(), fields }
}

const fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warn => "WARN",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        Level::Trace => "TRACE",
    }
}

fn instant(line: &Line) -> String {
    String::from_utf8_lossy(&rfc3339(line.unix_ms)).into_owned()
}

fn write_text(line: &Line, out: &mut String) -> std::fmt::Result {
    write!(out, "{} {:>5} {}: ", instant(line), name(line.level), line.target)?;
    write_escaped(&line.message, out);
    for (key, value) in &line.fields {
        write!(out, " {key}=")?;
        write_value(value, out)?;
    }
    Ok(())
}

fn write_logfmt(line: &Line, out: &mut String) -> std::fmt::Result {
    let level = name(line.level).to_ascii_lowercase();
    write!(out, "ts={} level={level} target={} msg=", instant(line), line.target)?;
    write_quoted(&line.message, out);
    for (key, value) in &line.fields {
        write!(out, " {key}=")?;
        write_value(value, out)?;
    }
    Ok(())
}

fn write_json(line: &Line, out: &mut String) -> std::fmt::Result {
    write!(out, "{{\"timestamp\":\"{}\",\"level\":\"{}\",\"target\":", instant(line), name(line.level))?;
    write_string(line.target, out);
    out.push_str(",\"message\":");
    write_string(&line.message, out);
    for (key, value) in &line.fields {
        out.push(',');
        write_string(key, out);
        out.push(':');
        match value {
            Value::Text(text) => write_string(text, out),
            // RFC 8259 section 6: infinities and what is no number have no form.
            Value::Real(number) if !number.is_finite() => out.push_str("null"),
            plain => write_value(plain, out)?,
        }
    }
    out.push('}');
    Ok(())
}

fn write_value(value: &Value, out: &mut String) -> std::fmt::Result {
    match value {
        Value::Text(text) => {
            write_quoted(text, out);
            Ok(())
        }
        Value::Number(number) => write!(out, "{number}"),
        Value::Signed(number) => write!(out, "{number}"),
        Value::Real(number) => write!(out, "{number}"),
        Value::Flag(flag) => write!(out, "{flag}"),
    }
}

/// A JSON string. JSON itself lets some pass that end a line for other readers or turn it around on a screen.
fn write_string(text: &str, out: &mut String) {
    let quoted = serde_json::to_string(&cut(text)).unwrap_or_default();
    for c in quoted.chars() {
        if is_unfit(c) {
            // None of them needs more than four digits.
            let _infallible = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
}

/// The text as it is where nothing in it could be taken for something else, else in quotes.
pub(in crate::server) fn write_quoted(text: &str, out: &mut String) {
    let plain = |c: char| !is_unfit(c) && !c.is_whitespace() && !matches!(c, '"' | '=' | '\\');
    if !text.is_empty() && text.len() <= LOG_VALUE_BYTES_MAX && text.chars().all(plain) {
        return out.push_str(text);
    }
    out.push('"');
    for c in cut(text).chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c => write_char(c, out),
        }
    }
    out.push('"');
}

/// What is read as it stands, on one line.
pub(in crate::server) fn write_escaped(text: &str, out: &mut String) {
    cut(text).chars().for_each(|c| write_char(c, out));
}

/// What ends a line, steers a terminal, or turns around what follows.
fn is_unfit(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn write_char(c: char, out: &mut String) {
    if is_unfit(c) {
        out.extend(c.escape_default());
    } else {
        out.push(c);
    }
}

/// What fits of a text, and a sign that it was longer.
fn cut(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= LOG_VALUE_BYTES_MAX {
        return text.into();
    }
    format!("{}…", &text[..text.floor_char_boundary(LOG_VALUE_BYTES_MAX)]).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConnectionName;
    use std::net::IpAddr;

    fn written(message: &str, fields: &[(&'static str, Value)], form: LogFormat) -> String {
        let line = Line {
            unix_ms: 1_795_271_185_123,
            level: Level::Warn,
            target: "waystation::server",
            message: message.into(),
            fields: fields.to_vec(),
        };
        let mut out = Vec::new();
        write(&line, form, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_three_forms() {
        let fields = [
            ("address", "127.0.0.1:80".into()),
            ("shards", Value::Number(2)),
            ("left", Value::Signed(-1)),
            ("echo", Value::Flag(true)),
            ("why", "no \"more\" room".into()),
        ];
        for (form, expected) in [
            (
                LogFormat::Text,
                "2026-11-21T14:26:25.123Z  WARN waystation::server: not all well address=127.0.0.1:80 shards=2 left=-1 \
                 echo=true why=\"no \\\"more\\\" room\"\n",
            ),
            (
                LogFormat::Logfmt,
                "ts=2026-11-21T14:26:25.123Z level=warn target=waystation::server msg=\"not all well\" \
                 address=127.0.0.1:80 shards=2 left=-1 echo=true why=\"no \\\"more\\\" room\"\n",
            ),
            (
                LogFormat::Json,
                "{\"timestamp\":\"2026-11-21T14:26:25.123Z\",\"level\":\"WARN\",\"target\":\"waystation::server\",\
                 \"message\":\"not all well\",\"address\":\"127.0.0.1:80\",\"shards\":2,\"left\":-1,\"echo\":true,\
                 \"why\":\"no \\\"more\\\" room\"}\n",
            ),
        ] {
            assert_eq!(written("not all well", &fields, form), expected);
        }
    }

    #[test]
    fn an_entry_of_the_audit_is_a_line_of_what_it_has() {
        let entry = Entry {
            connection: Some(ConnectionName(10)),
            user: Some("ann".into()),
            peer: Some(IpAddr::from([192, 0, 2, 7]).into()),
            code: Some(4013),
            ..Entry::new(0, "closed", "slow")
        };
        let written = |entry| {
            let mut out = Vec::new();
            write(&line_of(entry), LogFormat::Logfmt, &mut out);
            String::from_utf8(out).unwrap()
        };
        let head = "ts=1970-01-01T00:00:00.000Z level=info target=waystation::audit msg=";
        let name = "0000000000000000000000000000000a";
        assert_eq!(
            written(entry),
            format!("{head}closed connection={name} user=ann peer=192.0.2.7 code=4013 reason=slow\n")
        );
        assert_eq!(written(Entry::new(0, "configured", "")), format!("{head}configured\n"));
    }

    #[test]
    fn nothing_that_is_said_makes_a_second_line_or_another_field() {
        let evil = "a\r\n{\"level\":\"INFO\"} b=\"c\\\u{2028}\u{1b}[0m\u{85}\u{7f}\u{9b}2J\u{2029}\u{202e}\u{2066}";
        let fields = [("user", evil.into()), ("empty", "".into()), ("odd", Value::Real(f64::NAN))];
        for form in [LogFormat::Text, LogFormat::Json, LogFormat::Logfmt] {
            let text = written(evil, &fields, form);
            let inner = text.strip_suffix('\n').unwrap();
            assert!(!inner.chars().any(is_unfit), "{inner:?}");
        }
        let json: serde_json::Value = serde_json::from_str(&written(evil, &fields, LogFormat::Json)).unwrap();
        assert_eq!((&json["message"], &json["user"], &json["odd"]), (&evil.into(), &evil.into(), &().into()));
        assert!(
            written(evil, &fields, LogFormat::Logfmt).contains(r#" user="a\r\n{\"level\":\"INFO\"} b=\"c\\\u{2028}"#)
        );
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        for (len, whole) in
            [(LOG_VALUE_BYTES_MAX - 1, true), (LOG_VALUE_BYTES_MAX, true), (LOG_VALUE_BYTES_MAX + 1, false)]
        {
            for form in [LogFormat::Text, LogFormat::Json, LogFormat::Logfmt] {
                let text = written("m", &[("long", "x".repeat(len).into())], form);
                assert_eq!((text.matches('x').count(), text.contains('…')), (len.min(LOG_VALUE_BYTES_MAX), !whole));
            }
        }
        let wide = "€".repeat(LOG_VALUE_BYTES_MAX / 3 + 1);
        let text = written("m", &[("wide", wide.into())], LogFormat::Json);
        assert_eq!(text.matches('€').count(), LOG_VALUE_BYTES_MAX / 3);
    }
}
