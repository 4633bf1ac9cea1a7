//! The phases of a connection against a real ring and real sockets: what runs in each, and when a slot is free.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;

use super::*;
use crate::runtime::ring::{Completion, RingSizes};

const SMALL: RingSizes = RingSizes { submissions: 8, completions: 16, buffers: 4, offered: 4, buffer_bytes: 16 };

/// Enough of a host to see what comes of a phase.
struct Bench {
    ring: Ring,
    sockets: Sockets,
    conn: ConnId,
    released: bool,
    bytes: Vec<u8>,
    /// Completions of this connection's operations, cancels aside.
    seen: Vec<Completion>,
}

impl Bench {
    fn new() -> (Self, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        let mut bench = Self {
            ring: Ring::new(SMALL).unwrap(),
            sockets: Sockets::new(ShardId(0)),
            conn: ConnId { shard: ShardId(0), slot: 2, generation: 7 },
            released: false,
            bytes: Vec::new(),
            seen: Vec::new(),
        };
        bench.sockets.insert(bench.conn, Transport::Plain(near.into()));
        bench.settle();
        (bench, far)
    }

    fn settle(&mut self) {
        self.released |= self.sockets.settle(self.conn, &mut self.ring) == Settled::Released;
    }

    fn enter(&mut self, phase: Phase) {
        self.sockets.set_phase(self.conn, phase);
        self.settle();
    }

    /// Handles completions until nothing has come for a while.
    fn run(&mut self) {
        loop {
            let mut batch = Vec::new();
            self.ring.park(Duration::from_millis(20)).unwrap();
            self.ring.collect(&mut batch, 64).unwrap();
            if batch.is_empty() {
                return;
            }
            for completion in batch.into_iter().filter(|completion| completion.token.kind != Kind::Cancel) {
                let conn = self.sockets.on_completion(completion.token, completion.more).unwrap();
                if let Some(id) = completion.buffer {
                    self.bytes.extend_from_slice(self.ring.buffers.take(id, completion.result.unwrap()));
                    self.ring.buffers.give_back(id);
                }
                match completion.result {
                    Err(Errno::NOBUFS) => self.sockets.starve(conn),
                    Ok(0) => {
                        self.sockets.end(conn);
                    }
                    _ => {}
                }
                self.seen.push(completion);
                self.settle();
            }
            while self.sockets.take_starved().is_some() {
                self.settle();
            }
        }
    }

    fn socket(&self) -> &Socket {
        &self.sockets.table[self.conn.index()]
    }
}

#[test]
fn an_opening_connection_receives_once_at_a_time() {
    let (mut bench, mut far) = Bench::new();
    for round in 1..4 {
        far.write_all(b"head").unwrap();
        bench.run();
        assert_eq!(bench.seen.len(), round);
        assert!(bench.seen.iter().all(|completion| !completion.more));
    }
    assert_eq!(bench.bytes, b"headheadhead");
}

#[test]
fn a_streaming_connection_receives_everything_though_buffers_run_out() {
    let (mut bench, mut far) = Bench::new();
    bench.enter(Phase::Streaming);
    let sent: Vec<u8> = (0..=255).cycle().take(1000).collect();
    far.write_all(&sent).unwrap();
    bench.run();
    assert_eq!(bench.bytes, sent);
    assert!(bench.seen.iter().any(|completion| completion.result == Err(Errno::NOBUFS)));
}

#[test]
fn a_paused_connection_receives_nothing_until_it_is_resumed() {
    let (mut bench, mut far) = Bench::new();
    bench.enter(Phase::Streaming);
    bench.enter(Phase::Paused);
    bench.run();
    far.write_all(b"later").unwrap();
    bench.run();
    assert_eq!((bench.socket().receive, bench.bytes.len()), (Flight::None, 0));
    bench.enter(Phase::Streaming);
    bench.run();
    assert_eq!(bench.bytes, b"later");
}

#[test]
fn a_connection_that_is_resumed_before_its_pause_took_hold_receives() {
    let (mut bench, mut far) = Bench::new();
    bench.enter(Phase::Streaming);
    bench.enter(Phase::Paused);
    bench.enter(Phase::Streaming);
    bench.run();
    far.write_all(b"at once").unwrap();
    bench.run();
    assert_eq!((bench.socket().receive, &bench.bytes[..]), (Flight::Running, &b"at once"[..]));
}

#[test]
fn who_stands_in_line_is_read_up_to_a_bound_and_an_opening_one_not_at_all() {
    let (mut bench, mut far) = Bench::new();
    assert!(bench.sockets.hold(bench.conn, b"head") && !bench.sockets.hold(bench.conn, b"more"), "it comes once");
    far.write_all(b"x").unwrap();
    bench.run();
    far.write_all(b"later").unwrap();
    bench.run();
    assert_eq!((bench.socket().receive, &bench.bytes[..]), (Flight::None, &b"x"[..]), "one receive was under way");
    bench.enter(Phase::Streaming);
    assert_eq!(bench.sockets.take_held(bench.conn).unwrap().bytes, b"headmore");
    bench.settle();
    bench.run();
    assert_eq!(bench.bytes, b"xlater");
    for (count, reads) in [(HELD_BYTES - 1, true), (HELD_BYTES, false)] {
        assert!(bench.sockets.hold(bench.conn, &vec![1; count]));
        bench.settle();
        bench.run();
        assert_eq!(bench.socket().receive, if reads { Flight::Running } else { Flight::None }, "{count} bytes");
        assert!(!bench.sockets.hold_end(bench.conn) && bench.sockets.is_held(bench.conn));
        let held = bench.sockets.take_held(bench.conn).unwrap();
        assert!(held.ended && held.bytes.len() == count);
        bench.settle();
    }
    assert!(bench.sockets.hold_end(bench.conn));
    bench.enter(Phase::Closing);
    bench.run();
    assert!(bench.released && bench.sockets.take_held(bench.conn).is_none(), "nothing is left of it");
}

#[test]
fn a_closed_connection_gives_its_slot_back_after_its_last_completion() {
    let (mut bench, mut far) = Bench::new();
    bench.enter(Phase::Streaming);
    bench.sockets.await_room(bench.conn, &mut bench.ring);
    bench.ring.submit().unwrap();
    bench.enter(Phase::Closing);
    assert!(!bench.released && bench.sockets.open() == 1, "a receive and a poll are in flight");
    bench.run();
    assert!(bench.released && bench.sockets.open() == 0);
    assert!(bench.sockets.transport(bench.conn).is_none());
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(bench.sockets.settle(bench.conn, &mut bench.ring), Settled::Kept, "it is released once");
}

#[test]
fn a_connection_that_is_idle_when_it_closes_is_released_at_once() {
    let (mut bench, mut far) = Bench::new();
    far.write_all(b"x").unwrap();
    bench.ring.park(Duration::from_secs(5)).unwrap();
    let mut batch = Vec::new();
    bench.ring.collect(&mut batch, 1).unwrap();
    bench.sockets.on_completion(batch[0].token, batch[0].more).unwrap();
    bench.enter(Phase::Closing);
    assert!(bench.released);
}

#[test]
fn a_lingering_connection_drops_what_comes_and_closes_with_its_peer() {
    let (mut bench, mut far) = Bench::new();
    bench.enter(Phase::Streaming);
    bench.enter(Phase::Paused);
    bench.sockets.linger(bench.conn, Millis(0));
    bench.settle();
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0, "the write side is shut");
    far.write_all(&[1; 500]).unwrap();
    bench.run();
    assert!(!bench.released && !bench.sockets.is_live(bench.conn) && bench.bytes.len() == 500);
    drop(far);
    bench.run();
    assert!(bench.released);
}

#[test]
fn a_peer_that_does_not_close_is_closed_when_the_linger_time_is_over() {
    let (mut bench, _far) = Bench::new();
    bench.sockets.linger(bench.conn, Millis(10));
    bench.settle();
    assert_eq!(bench.sockets.linger_until(), Some(Millis(10 + LINGER_MS)));
    assert_eq!(bench.sockets.take_overdue(Millis(9 + LINGER_MS)), None);
    assert_eq!(bench.sockets.take_overdue(Millis(10 + LINGER_MS)), Some(bench.conn));
    bench.settle();
    bench.run();
    assert!(bench.released && bench.sockets.linger_until().is_none());
}

#[test]
fn a_socket_is_taken_out_only_while_nothing_is_in_flight() {
    let (mut bench, mut far) = Bench::new();
    assert!(bench.sockets.take_out(bench.conn).is_none(), "the receive of the head is in flight");
    far.write_all(b"head").unwrap();
    bench.ring.park(Duration::from_secs(5)).unwrap();
    let mut batch = Vec::new();
    bench.ring.collect(&mut batch, 1).unwrap();
    bench.sockets.on_completion(batch[0].token, batch[0].more).unwrap();
    let transport = bench.sockets.take_out(bench.conn).unwrap();
    assert!(bench.sockets.open() == 0 && !bench.sockets.is_live(bench.conn));
    bench.sockets.insert(bench.conn, transport);
    bench.settle();
    far.write_all(b"rest").unwrap();
    bench.run();
    assert_eq!(bench.bytes, b"rest");
}

#[test]
fn the_tenant_of_a_slot_is_not_taken_for_the_one_before() {
    let (mut bench, _far) = Bench::new();
    let before = ConnId { generation: 6, ..bench.conn };
    bench.sockets.mark_dirty(before);
    bench.sockets.set_phase(before, Phase::Closing);
    assert!(!bench.sockets.is_live(before) && bench.sockets.is_live(bench.conn) && bench.sockets.dirty.is_empty());
    assert!(bench.sockets.transport(before).is_none());
}

#[test]
fn a_connection_is_on_the_list_to_be_written_to_once_and_not_while_it_waits_for_room() {
    let (mut bench, _far) = Bench::new();
    bench.sockets.mark_dirty(bench.conn);
    bench.sockets.mark_dirty(bench.conn);
    assert_eq!(bench.sockets.dirty, [bench.conn]);
    bench.sockets.dirty.clear();
    assert!(bench.sockets.take_dirty(bench.conn));
    bench.sockets.await_room(bench.conn, &mut bench.ring);
    bench.sockets.mark_dirty(bench.conn);
    assert!(bench.sockets.dirty.is_empty());
    bench.run();
    bench.sockets.mark_dirty(bench.conn);
    assert_eq!(bench.sockets.dirty, [bench.conn], "the poll said that there is room");
}

#[test]
fn an_idle_connection_takes_a_few_words() {
    assert!(size_of::<Socket>() <= 16, "{}", size_of::<Socket>());
}
