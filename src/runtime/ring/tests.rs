//! The ring against real sockets: the flags it was built with, its buffers, its sleep.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::*;
use crate::limits::TURN_COMPLETIONS_MAX;

const SMALL: RingSizes = RingSizes { submissions: 4, completions: 8, buffers: 4, offered: 4, buffer_bytes: 16 };

fn token(kind: Kind, slot: u32) -> Token {
    Token::new(kind, slot, 9)
}

/// Collects until a completion satisfies `last`, and returns all up to it, buffers given back.
fn collect_until(ring: &mut Ring, last: impl Fn(&Completion) -> bool) -> (Vec<Completion>, Vec<u8>, bool) {
    let (mut all, mut bytes, mut overflowed) = (Vec::new(), Vec::new(), false);
    for _ in 0..1000 {
        let mut batch = Vec::new();
        overflowed |= ring.collect(&mut batch, 512).unwrap().overflowed;
        for completion in batch {
            if let (Some(id), Ok(len)) = (completion.buffer, completion.result) {
                bytes.extend_from_slice(ring.buffers.take(id, len));
                ring.buffers.give_back(id);
            }
            all.push(completion);
        }
        if all.iter().any(&last) {
            return (all, bytes, overflowed);
        }
        ring.park(Duration::from_millis(10)).unwrap();
    }
    panic!("it did not come: {all:?}");
}

#[test]
fn a_token_is_read_back_as_it_was_packed() {
    for kind in [Kind::Accept, Kind::Bell, Kind::Receive, Kind::Room, Kind::Cancel] {
        for slot in [0, 1, u32::MAX] {
            for generation in [0, 1, (1 << GENERATION_BITS) - 1, 1 << GENERATION_BITS, u32::MAX] {
                let token = Token::new(kind, slot, generation);
                assert_eq!(Token::unpack(token.pack()), token);
                assert!(token.is_of(generation) && !token.is_of(generation ^ 1));
            }
        }
    }
}

#[test]
fn a_multishot_receive_gives_every_byte_in_order_and_then_the_end() {
    let mut ring = Ring::new(RingSizes { buffers: 64, offered: 64, completions: 128, ..SMALL }).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    ring.receive_on(near.as_fd(), token(Kind::Receive, 3));
    ring.submit().unwrap();
    let sent: Vec<u8> = (0..200).collect();
    far.write_all(&sent).unwrap();
    drop(far);
    let (all, bytes, _) = collect_until(&mut ring, |completion| completion.result == Ok(0));
    assert_eq!(bytes, sent);
    assert!(all.iter().all(|completion| completion.token == token(Kind::Receive, 3)));
    assert!(!all.last().unwrap().more);
}

#[test]
fn a_receive_that_finds_no_buffer_ends_and_goes_on_when_it_is_armed_again() {
    let mut ring = Ring::new(SMALL).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    ring.receive_on(near.as_fd(), token(Kind::Receive, 0));
    let sent: Vec<u8> = (0..100).collect();
    far.write_all(&sent).unwrap();
    let (all, mut bytes, _) = collect_until(&mut ring, |completion| !completion.more);
    assert_eq!((all.last().unwrap().result, bytes.len()), (Err(Errno::NOBUFS), 64), "four buffers of sixteen");
    ring.receive_on(near.as_fd(), token(Kind::Receive, 0));
    drop(far);
    bytes.extend(collect_until(&mut ring, |completion| !completion.more).1);
    assert_eq!(bytes, sent);
}

#[test]
fn a_cancelled_receive_completes_once_more_and_no_more() {
    let mut ring = Ring::new(SMALL).unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    ring.receive_on(near.as_fd(), token(Kind::Receive, 1));
    ring.cancel(token(Kind::Receive, 1));
    let (all, _, _) = collect_until(&mut ring, |completion| completion.token.kind == Kind::Receive);
    let receive = all.iter().find(|completion| completion.token.kind == Kind::Receive).unwrap();
    assert_eq!((receive.result, receive.more), (Err(Errno::CANCELED), false));
}

#[test]
fn more_operations_than_the_queue_holds_are_all_made_though_completions_overflow() {
    let mut ring = Ring::new(SMALL).unwrap();
    let pairs: Vec<_> = (0..100).map(|_| UnixStream::pair().unwrap()).collect();
    for (slot, (near, _)) in (0..).zip(&pairs) {
        ring.poll_room(near.as_fd(), token(Kind::Room, slot));
    }
    let mut seen = vec![false; pairs.len()];
    let mut overflowed = false;
    for _ in 0..1000 {
        let mut batch = Vec::new();
        overflowed |= ring.collect(&mut batch, 3).unwrap().overflowed;
        for completion in batch {
            assert!(!std::mem::replace(&mut seen[completion.token.slot as usize], true), "{completion:?} came twice");
        }
    }
    assert!(seen.iter().all(|seen| *seen) && overflowed);
}

#[test]
fn a_turn_collects_so_many_completions_and_the_rest_waits() {
    const MAX: usize = TURN_COMPLETIONS_MAX;
    for (count, expected) in [
        (MAX - 1, [(MAX - 1, false), (0, false)]),
        (MAX, [(MAX, false), (0, false)]),
        (MAX + 1, [(MAX, true), (1, false)]),
    ] {
        let mut ring = Ring::new(RingSizes::default()).unwrap();
        let (near, _far) = UnixStream::pair().unwrap();
        (0..).take(count).for_each(|slot| ring.poll_room(near.as_fd(), token(Kind::Room, slot)));
        let turns = [(); 2].map(|()| {
            let mut batch = Vec::new();
            let more = ring.collect(&mut batch, MAX).unwrap().more;
            (batch.len(), more)
        });
        assert_eq!(turns, expected, "{count} completions");
    }
}

#[test]
fn every_ring_of_the_bell_is_reported_though_its_count_is_never_read() {
    let bell = crate::mesh::Bell::new().unwrap();
    let mut ring = Ring::new(SMALL).unwrap();
    ring.poll_bell(bell.as_fd(), token(Kind::Bell, 0));
    ring.submit().unwrap();
    for _ in 0..100 {
        bell.announce();
        assert!(bell.ring_if_asleep());
        let (all, _, _) = collect_until(&mut ring, |completion| completion.token.kind == Kind::Bell);
        assert!(all.iter().all(|completion| completion.more));
    }
    let mut batch = Vec::new();
    ring.park(Duration::from_millis(1)).unwrap();
    ring.collect(&mut batch, 8).unwrap();
    assert!(batch.is_empty(), "a bell that nobody rings is silent: {batch:?}");
}
