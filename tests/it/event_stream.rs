//! Event streams over real sockets on two shards: what a reader gets, and how it comes back after it was cut off.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Gateway, SOON};
use crate::raw::get;

/// A reader as a browser's `EventSource` reads.
#[derive(Debug)]
struct Reader {
    lines: BufReader<TcpStream>,
    head: String,
    last_id: String,
}

impl Reader {
    fn open(gateway: &Gateway, path: &str, token: &str, last_id: &str) -> Self {
        let mut stream = TcpStream::connect(gateway.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let resume = if last_id.is_empty() { String::new() } else { format!("Last-Event-ID: {last_id}\r\n") };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {token}\r\n{resume}\r\n",
            gateway.address
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = Self { lines: BufReader::new(stream), head: String::new(), last_id: last_id.to_owned() };
        loop {
            let line = reader.line().unwrap();
            if line.is_empty() {
                break;
            }
            reader.head.push_str(&line);
            reader.head.push('\n');
        }
        reader
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.lines.read_line(&mut line).unwrap();
        (count > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The next event; `None` where the stream ends.
    fn event(&mut self) -> Option<Value> {
        let mut data: Vec<String> = Vec::new();
        loop {
            let line = self.line()?;
            if let Some(id) = line.strip_prefix("id: ") {
                id.clone_into(&mut self.last_id);
            } else if let Some(more) = line.strip_prefix("data: ") {
                data.push(more.to_owned());
            } else if line.is_empty() && !data.is_empty() {
                return Some(serde_json::from_str(&data.join("\n")).unwrap());
            }
        }
    }

    fn event_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event().unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    }
}

#[test]
fn a_reader_that_is_cut_off_again_and_again_gets_every_event_once_in_order() {
    let gateway = Gateway::with(&["--shards", "2", "--limits", "unlimited"]);
    let (ann, bob) = (gateway.token("ann"), gateway.token("bob"));
    for room in 0..6 {
        let name = format!("chat:room-{room}");
        let mut author = Client::join(&gateway, "/ws", &ann);
        let mut reader = Reader::open(&gateway, &format!("/api/sse/{name}"), &bob, "");
        assert_eq!(reader.event_of("subscribed")["payload"]["channel"], json!(name));
        let mut seqs = Vec::new();
        for round in 0..5_u64 {
            for index in 0..4 {
                author.publish(&name, &format!("{round}-{index}"), &json!({ "round": round }));
            }
            // Read some, then be cut off; the others come while nobody reads.
            for _ in 0..round.min(3) {
                seqs.push(reader.event_of("note")["seq"].as_u64().unwrap());
            }
            (0..4).for_each(|_| drop(author.event_of("ack")));
            reader.lines.get_ref().shutdown(Shutdown::Both).unwrap();
            let last = reader.last_id.clone();
            reader = Reader::open(&gateway, &format!("/api/sse/{name}"), &bob, &last);
            assert_eq!(reader.event_of("subscribed")["payload"]["recovered"], true);
            assert_eq!(reader.last_id, last);
        }
        while seqs.len() < 20 {
            seqs.push(reader.event_of("note")["seq"].as_u64().unwrap());
        }
        assert_eq!(seqs, (1..=20).collect::<Vec<_>>(), "{name}");
    }
    assert!(gateway.metric("waystation_resumes_total", "recovered=\"true\"") >= 30);
    assert_eq!(gateway.metric("waystation_event_streams_total", ""), 36);
}

#[test]
fn a_stream_is_told_of_a_trace() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let gateway = Gateway::with(&["--shards", "2"]);
    let mut author = Client::join(&gateway, "/ws", &gateway.token("ann"));
    let mut reader = Reader::open(&gateway, "/api/sse/chat:1", &gateway.token("bob"), "");
    reader.event_of("subscribed");
    for trace in [json!(TRACE), Value::Null] {
        let payload = json!({ "channel": "chat:1", "type": "note", "payload": {} });
        author.send(&json!({ "type": "publish", "traceparent": trace, "payload": payload }));
        assert_eq!(reader.event_of("note")["traceparent"], trace);
    }
}

#[test]
fn a_stream_is_not_kept_by_caches_and_its_page_may_read_it() {
    let gateway = Gateway::start();
    let mut reader = Reader::open(&gateway, "/api/sse/chat%3A1", &gateway.token("ann"), "");
    for line in [
        "HTTP/1.1 200 OK",
        "Content-Type: text/event-stream",
        "Cache-Control: no-store",
        "X-Accel-Buffering: no",
        &format!("Access-Control-Allow-Origin: http://{}", gateway.address),
    ] {
        assert!(reader.head.lines().any(|found| found == line), "{line}: {}", reader.head);
    }
    assert_eq!(reader.event().unwrap()["type"], "connection_established");
    let refused = get(&gateway, "GET", "/api/sse/chat:1");
    assert_eq!((refused.status, refused.header("Content-Type")), (401, Some("application/problem+json")));
    assert_eq!(get(&gateway, "PUT", "/api/sse/chat:1").status, 405);
    gateway.terminate();
    assert_eq!(reader.event_of("draining")["payload"]["reconnect_after_ms"], 1000);
    assert_eq!(reader.event_of("connection_close")["payload"]["code"], 1012);
    assert!(reader.event().is_none());
}
