//! A server with one planted fault, on an independent WebSocket implementation: what is proved is that a run finds the
//! fault on the wire, by its name and with its count, and that without one it finds nothing.

#![expect(clippy::unwrap_used, reason = "a test binary: a panic is its report")]

use std::net::TcpListener;

use loadgen::checker::Faults;
use loadgen::engine::Target;
use loadgen::plan::{self, Setting};
use loadgen::report::Report;
use loadgen::scenario::{SHIPPED, Scenario};
use tungstenite::Message;

/// What happens to the tenth of twenty publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    Drop,
    Double,
    Swap,
    FlipByte,
    SkipSeq,
    OtherRoom,
    Close,
    Fragment,
}

/// One room with one member, which gets its own publishes back in an envelope.
fn serve(listener: &TcpListener, planted: Planted) {
    let (stream, _) = listener.accept().unwrap();
    let mut socket = tungstenite::accept(stream).unwrap();
    let send = |socket: &mut tungstenite::WebSocket<_>, text: String| socket.send(Message::text(text)).unwrap();
    let (mut count, mut seq, mut held) = (0, 0, None);
    while let Ok(message) = socket.read() {
        let Message::Text(text) = message else { continue };
        let text = text.as_str();
        if text.contains("\"token\"") {
            send(&mut socket, "{\"success\":true}".to_owned());
            send(&mut socket, "{\"type\":\"subscribed\",\"payload\":{\"seq\":0}}".to_owned());
            continue;
        }
        let mut body = text.split("\"value\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        (count, seq) = (count + 1, seq + 1);
        let here = if count == 10 { planted } else { Planted::Nothing };
        match here {
            Planted::FlipByte => body.replace_range(100..101, "#"),
            Planted::SkipSeq => seq += 1,
            Planted::OtherRoom => body = body_of_other_room(&body),
            Planted::Close => {
                let _already_gone = socket.close(None);
                // What the client sent before it heard of the close is read and not answered.
                while socket.read().is_ok() {}
                return;
            }
            _ => {}
        }
        let event = format!("{{\"type\":\"x\",\"seq\":{seq},\"payload\":{{\"value\":\"{body}\"}}}}");
        match here {
            // A number that nobody got would be a gap of its own.
            Planted::Drop => seq -= 1,
            Planted::Swap => (held, seq) = (Some(body), seq - 1),
            Planted::Double => {
                send(&mut socket, event.clone());
                send(&mut socket, event.replace(&format!("\"seq\":{seq}"), &format!("\"seq\":{}", seq + 1)));
                seq += 1;
            }
            Planted::Fragment => {
                use tungstenite::protocol::frame::{Frame, coding::Data, coding::OpCode};
                let frame = Frame::message(event.into_bytes(), OpCode::Data(Data::Text), false);
                let _ = socket.send(Message::Frame(frame));
                // The client gives up here; what it sent before is read and not answered.
                while socket.read().is_ok() {}
                return;
            }
            _ => send(&mut socket, event),
        }
        if here != Planted::Swap
            && let Some(body) = held.take()
        {
            seq += 1;
            send(&mut socket, format!("{{\"type\":\"x\",\"seq\":{seq},\"payload\":{{\"value\":\"{body}\"}}}}"));
        }
    }
}

fn body_of_other_room(body: &str) -> String {
    let mut bytes = body.as_bytes().to_vec();
    let (marker, _) = loadgen::marker::Marker::decode(&bytes).unwrap();
    loadgen::marker::Marker { room: marker.room + 1, ..marker }.encode(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

fn run(planted: Planted) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::parse(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
    let server = std::thread::spawn(move || serve(&listener, planted));
    let changes = ["messages=20", "rate=200", "duration_s=0.3", "warmup_s=0", "drain_s=0.1", "spin=false"];
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    let (_, text) = SHIPPED.iter().find(|shipped| shipped.0 == "single-1000").unwrap();
    let scenario = Scenario::parse(text, &changes).unwrap();
    let report = plan::run(&scenario, &Setting::new(target)).unwrap();
    server.join().unwrap();
    report
}

fn check(planted: Planted, expected: Faults) {
    let report = run(planted);
    assert_eq!(report.faults, expected, "{planted:?}: {report}");
    assert_eq!(report.objections().is_empty(), expected.none(), "{planted:?}: {report}");
}

#[test]
fn a_faultless_independent_server_passes() {
    check(Planted::Nothing, Faults::default());
}

#[test]
fn each_planted_fault_of_a_delivery_is_named_and_counted() {
    check(Planted::Drop, Faults { lost: 1, ..Faults::default() });
    check(Planted::Double, Faults { duplicated: 1, ..Faults::default() });
    check(Planted::Swap, Faults { out_of_order: 1, ..Faults::default() });
    check(Planted::FlipByte, Faults { lost: 1, corrupted: 1, ..Faults::default() });
    check(Planted::SkipSeq, Faults { seq_gaps: 1, ..Faults::default() });
    check(Planted::OtherRoom, Faults { lost: 1, wrong_room: 1, ..Faults::default() });
}

#[test]
fn an_end_that_nobody_asked_for_fails_the_run() {
    let report = run(Planted::Close);
    assert_eq!((report.exit_code(), report.closes.sum()), (1, 1), "{report}");
    assert!(report.faults.owed_to_closed > 0 && report.faults.lost == 0, "{report}");
}

#[test]
fn a_frame_that_is_not_understood_fails_the_run() {
    let report = run(Planted::Fragment);
    assert_eq!((report.exit_code(), report.protocol_faults.count("Unexpected")), (1, 1), "{report}");
}
