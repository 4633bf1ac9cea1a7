//! Streams of frames, each cut at every position: cuts never change what is understood.

use super::*;
use crate::limits::{FRAGMENTS_COUNT_MAX, MESSAGE_BYTES_MAX};

const RULES: Rules = Rules { message_bytes_max: 100_000, fragments_max: Some(4), binary: true };

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Failed(u16),
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

fn see(incoming: Incoming<'_>) -> Seen {
    match incoming {
        Incoming::Text(text) => Seen::Text(text.to_owned()),
        Incoming::Binary(bytes) => Seen::Binary(bytes.to_vec()),
        Incoming::Ping(bytes) => Seen::Ping(bytes.to_vec()),
        Incoming::Pong(bytes) => Seen::Pong(bytes.to_vec()),
        Incoming::Close(close) => Seen::Close(close.map(|(code, reason)| (code.0, reason.to_owned()))),
    }
}

/// Feeds one receive buffer; true if the connection is to be failed.
fn feed(assembler: &mut Assembler, rules: &Rules, piece: &[u8], seen: &mut Vec<Seen>) -> bool {
    let mut buffer = piece.to_vec();
    let mut at = 0;
    loop {
        match assembler.next(rules, &mut buffer, &mut at) {
            Ok(Some(incoming)) => seen.push(see(incoming)),
            Ok(None) => {
                assert_eq!(at, piece.len(), "all bytes are taken");
                return false;
            }
            Err(violation) => {
                seen.push(Seen::Failed(violation.close.0));
                return true;
            }
        }
    }
}

/// What is seen of a stream that comes in these pieces, and the memory that is held in the end.
fn run<'a>(rules: &Rules, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, usize) {
    let mut assembler = Assembler::default();
    let mut seen = Vec::new();
    for piece in pieces {
        if feed(&mut assembler, rules, piece, &mut seen) {
            break;
        }
    }
    (seen, assembler.held_bytes())
}

/// Checks what is seen of a stream: whole, cut in two anywhere (at some positions of a long one), and in
/// pieces of 1, 2, 3 and 7 bytes.
#[track_caller]
fn check_under(rules: &Rules, stream: &[u8], expected: &[Seen]) {
    assert_eq!(run(rules, [stream]).0, expected, "whole");
    for cut in (0..=stream.len()).step_by(1 + stream.len() / 2000) {
        let (left, right) = stream.split_at(cut);
        assert_eq!(run(rules, [left, right]).0, expected, "cut at {cut}");
    }
    for len in [1, 2, 3, 7] {
        assert_eq!(run(rules, stream.chunks(len)).0, expected, "in pieces of {len}");
    }
}

#[track_caller]
fn check(stream: impl AsRef<[u8]>, expected: &[Seen]) {
    check_under(&RULES, stream.as_ref(), expected);
}

/// A frame as a client sends it. `first` is the byte of FIN, the reserved bits and the opcode.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// The first, a middle and the last frame of a fragmented message.
const BEGIN_TEXT: u8 = 0x01;
const BEGIN_BINARY: u8 = 0x02;
const MORE: u8 = 0x00;
const END: u8 = 0x80;

#[test]
fn the_examples_of_rfc_6455_section_5_7_are_understood() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    check(hello, &[text("Hello")]);
    check([hello, hello].concat(), &[text("Hello"), text("Hello")]);
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    check(pong, &[Seen::Pong(b"Hello".to_vec())]);
    check([0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], &[Seen::Failed(1002)]);
}

#[test]
fn messages_of_every_length_form_are_understood() {
    for len in [0, 1, 7, 8, 9, 125, 126, 127, 1000, 65_535, 65_536, 65_537] {
        let payload: Vec<u8> = (b'a'..=b'z').cycle().take(len).collect();
        let expected = String::from_utf8(payload.clone()).unwrap();
        check([frame(TEXT, &payload), frame(BINARY, [0xff])].concat(), &[text(&expected), Seen::Binary(vec![0xff])]);
    }
}

#[test]
fn fragments_become_one_message_with_control_frames_between_them() {
    let stream = [
        frame(BEGIN_TEXT, "h\u{e9}"),
        frame(PING, "one"),
        frame(MORE, ""),
        frame(PONG, ""),
        frame(END, "llo"),
        frame(BEGIN_BINARY, [0xff]),
        frame(END, [0xfe]),
        frame(TEXT, ""),
        frame(CLOSE, ""),
    ]
    .concat();
    let expected = [
        Seen::Ping(b"one".to_vec()),
        Seen::Pong(Vec::new()),
        text("h\u{e9}llo"),
        Seen::Binary(vec![0xff, 0xfe]),
        text(""),
        Seen::Close(None),
    ];
    check(&stream, &expected);
    check([frame(BEGIN_TEXT, ""), frame(END, "")].concat(), &[text("")]);
    check([frame(BEGIN_TEXT, "a"), frame(CLOSE, [3, 232])].concat(), &[Seen::Close(Some((1000, String::new())))]);
}

#[test]
fn what_a_header_may_not_say_fails_with_1002() {
    for first in
        [0xc1, 0xa1, 0x91, 0xf1, 0xc8, 0xc9, 0x83, 0x84, 0x85, 0x86, 0x87, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x03, 0x0f]
    {
        check([frame(TEXT, "a"), frame(first, "b")].concat(), &[text("a"), Seen::Failed(1002)]);
    }
    for first in [CLOSE, PING, PONG] {
        check(frame(first & 0x7f, ""), &[Seen::Failed(1002)]);
        check(frame(first, [b'a'; 126]), &[Seen::Failed(1002)]);
        check([&[first, 0xff][..], &[0; 8], &[0; 4]].concat(), &[Seen::Failed(1002)]);
    }
    for len in [124, 125] {
        check(frame(PING, vec![b'a'; len]), &[Seen::Ping(vec![b'a'; len])]);
    }
    for unmasked in [&[0x81, 0x00][..], &[0x88, 0x02, 3, 232], &[0x81, 126, 0, 126]] {
        check(unmasked, &[Seen::Failed(1002)]);
    }
}

#[test]
fn fragments_out_of_order_fail_with_1002() {
    let failed = &[Seen::Failed(1002)];
    check(frame(END, "a"), failed);
    check(frame(MORE, "a"), failed);
    for second in [TEXT, BINARY, BEGIN_TEXT, BEGIN_BINARY] {
        check([frame(BEGIN_TEXT, "a"), frame(second, "b")].concat(), failed);
    }
    check([frame(BEGIN_TEXT, "a"), frame(END, "b"), frame(END, "c")].concat(), &[text("ab"), Seen::Failed(1002)]);
}

#[test]
fn a_length_is_in_its_shortest_form_and_below_2_to_the_63() {
    let check = |length: &[u8], close: u16| {
        check([&[BINARY], length, &[0; 4]].concat(), &[Seen::Failed(close)]);
    };
    check(&[0xfe, 0, 0], 1002);
    check(&[0xfe, 0, 125], 1002);
    check(&[0xff, 0, 0, 0, 0, 0, 0, 0, 125], 1002);
    check(&[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 1002);
    check(&[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002);
    check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1002);
    check(&[0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1009);
}

#[test]
fn close_payloads_are_checked() {
    let check_code = |code: u16, allowed: bool| {
        let expected = if allowed { Seen::Close(Some((code, "x".to_owned()))) } else { Seen::Failed(1002) };
        check(frame(CLOSE, [&code.to_be_bytes()[..], b"x"].concat()), &[expected]);
    };
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        check_code(code, true);
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check_code(code, false);
    }
    check(frame(CLOSE, [3]), &[Seen::Failed(1002)]);
    check(frame(CLOSE, [3, 232, 0xff]), &[Seen::Failed(1007)]);
    check(frame(CLOSE, [3, 232, 0xe2, 0x82]), &[Seen::Failed(1007)]);
    let longest = "a".repeat(123);
    check(frame(CLOSE, [&[3, 232], longest.as_bytes()].concat()), &[Seen::Close(Some((1000, longest)))]);
}

#[test]
fn binary_is_refused_at_its_header_where_it_is_not_taken() {
    let rules = Rules { binary: false, ..RULES };
    let header = &frame(BINARY, [0; 200])[..8];
    assert_eq!(run(&rules, [header]).0, [Seen::Failed(1003)]);
    check_under(&rules, &frame(BEGIN_BINARY, ""), &[Seen::Failed(1003)]);
    check_under(&rules, &[frame(BEGIN_TEXT, "a"), frame(END, "b")].concat(), &[text("ab")]);
}

#[test]
fn the_message_limit_holds_over_all_fragments_before_the_bytes_come() {
    let rules = Rules { message_bytes_max: 300, ..RULES };
    for (len, allowed) in [(299, true), (300, true), (301, false)] {
        let payload = "a".repeat(len);
        let expected = if allowed { text(&payload) } else { Seen::Failed(1009) };
        check_under(&rules, &frame(TEXT, &payload), std::slice::from_ref(&expected));
        let (left, right) = payload.split_at(130);
        check_under(&rules, &[frame(BEGIN_TEXT, left), frame(END, right)].concat(), &[expected]);
    }
    let header = &frame(BINARY, [0; 301])[..8];
    assert_eq!(run(&rules, [header]).0, [Seen::Failed(1009)]);
    let begun = frame(BEGIN_BINARY, [0; 200]);
    assert_eq!(run(&rules, [&begun[..], &frame(END, [0; 101])[..6]]).0, [Seen::Failed(1009)]);
}

#[test]
fn fragments_are_counted_empty_ones_too() {
    for (count, allowed) in [(3, true), (4, true), (5, false)] {
        let mut stream = frame(BEGIN_TEXT, "");
        stream.extend((2..count).flat_map(|_| [frame(MORE, ""), frame(PING, "")].concat()));
        stream.extend(frame(END, "a"));
        let mut seen = run(&RULES, [&stream[..]]).0;
        seen.retain(|seen| *seen != Seen::Ping(Vec::new()));
        assert_eq!(seen, [if allowed { text("a") } else { Seen::Failed(1002) }], "{count}");
    }
    let unbounded = Rules { fragments_max: None, ..RULES };
    let count = usize::try_from(FRAGMENTS_COUNT_MAX).unwrap() + 1;
    let stream = [frame(BEGIN_TEXT, ""), frame(MORE, "").repeat(count), frame(END, "a")].concat();
    assert_eq!(run(&unbounded, [&stream[..]]).0, [text("a")]);
}

#[test]
fn text_is_checked_over_every_cut() {
    let valid = "aé€😀\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}";
    for cut in 0..=valid.len() {
        let (left, right) = valid.as_bytes().split_at(cut);
        check([frame(BEGIN_TEXT, left), frame(END, right)].concat(), &[text(valid)]);
    }
    check(frame(TEXT, valid), &[text(valid)]);
    for bad in [
        &b"\x80"[..],
        b"\xbf",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xfe",
        b"\xff",
        b"\xe2\x28\xa1",
        b"\xe2\x82\x28",
        b"\xf0\x9f\x98",
        b"\xe2\x82",
        b"\xc3",
        b"\xc3\xc3\xa9",
        b"\xa9\xc3\xa9",
    ] {
        let payload = [b"ab\xc3\xa9", bad].concat();
        check(frame(TEXT, &payload), &[Seen::Failed(1007)]);
        for cut in 0..=payload.len() {
            let (left, right) = payload.split_at(cut);
            check([frame(BEGIN_TEXT, left), frame(END, right)].concat(), &[Seen::Failed(1007)]);
        }
    }
}

#[test]
fn bad_text_is_told_with_the_byte_that_makes_it_bad() {
    // RFC 6455 section 8.1, as the conformance suite's 6.4 asks for it: 0x90 cannot follow 0xf4.
    let check = |payload: &[u8], bad: usize| {
        for stream in [frame(TEXT, payload), frame(BEGIN_TEXT, payload)] {
            let header = stream.len() - payload.len();
            let mut assembler = Assembler::default();
            let mut seen = Vec::new();
            for (index, byte) in stream.iter().enumerate() {
                let failed = feed(&mut assembler, &RULES, &[*byte], &mut seen);
                assert_eq!(failed, index == header + bad, "{payload:?} at {index}");
                if failed {
                    break;
                }
            }
        }
    };
    check(b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80edited", 6);
    check(b"ab\xffc", 2);
    check(b"ab\xe2\x82cd", 4);
    check(b"a\xed\xa0\x80", 2);
    check(b"a\xc0\xaf", 1);
}

#[test]
fn an_idle_assembler_is_a_pointer_and_holds_nothing() {
    assert_eq!(size_of::<Assembler>(), size_of::<usize>());
    let stream = [frame(BEGIN_TEXT, "a".repeat(5000)), frame(PING, "b"), frame(END, "c")].concat();
    for cut in 0..=stream.len() {
        let (left, right) = stream.split_at(cut);
        assert_eq!(run(&RULES, [left, right]).1, 0, "cut at {cut}");
    }
    assert!(run(&RULES, [&stream[..3]]).1 > 0);
}

#[test]
fn a_lying_length_reserves_nothing_and_memory_stays_within_the_limit() {
    let rules = Rules { message_bytes_max: MESSAGE_BYTES_MAX, ..RULES };
    let whole = frame(BINARY, vec![0; MESSAGE_BYTES_MAX]);
    assert!(run(&rules, [&whole[..20]]).1 < 1024, "only what came is held");
    for len in [1, 100, 4096] {
        let mut assembler = Assembler::default();
        for piece in whole[..whole.len() - 1].chunks(len) {
            assert!(!feed(&mut assembler, &rules, piece, &mut Vec::new()));
            assert!(assembler.held_bytes() <= MESSAGE_BYTES_MAX + 1024);
        }
    }
}

#[test]
fn random_streams_are_understood_alike_in_any_pieces() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % below).unwrap()
    };
    for _ in 0..300 {
        let firsts = [TEXT, TEXT, BINARY, BEGIN_TEXT, BEGIN_BINARY, MORE, MORE, END, END, PING, PONG, CLOSE];
        let letters = ["a", "é", "€", "😀"];
        let stream: Vec<u8> = (0..12)
            .flat_map(|_| {
                let payload: String = (0..random(40)).map(|_| letters[random(4)]).collect();
                frame(firsts[random(12)], if random(8) == 0 { "" } else { &payload })
            })
            .collect();
        let whole = run(&RULES, [&stream[..]]).0;
        let mut pieces = Vec::new();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + random(60)).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        assert_eq!(run(&RULES, pieces).0, whole);
    }
}
