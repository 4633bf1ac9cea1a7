//! Order, bounds and wakes of the inboxes, the last with real threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

const OUTSIDE: ShardId = ShardId(u16::MAX);

fn small(shards: u16) -> (Mesh<u64>, Vec<MeshEnd<u64>>) {
    let mut mesh = Mesh::new(shards, Capacities { control: 1, data: 3 }).unwrap();
    let ends = (0..shards).map(|shard| mesh.take_end(ShardId(shard)).unwrap()).collect();
    (mesh, ends)
}

fn take_all(inbox: &Inbox<u64>, lane: Lane) -> Vec<(ShardId, u64)> {
    std::iter::from_fn(|| inbox.try_take(lane)).collect()
}

#[test]
fn a_lane_holds_as_much_as_it_says_and_gives_the_next_back() {
    let (mesh, ends) = small(2);
    let post = mesh.post(OUTSIDE);
    for (lane, capacity) in [(Lane::Control, 1), (Lane::Data, 3)] {
        for item in 0..capacity {
            assert_eq!(post.try_put(ShardId(1), lane, item), Ok(()), "{lane:?} {item} of {capacity}");
        }
        assert_eq!(post.try_put(ShardId(1), lane, capacity), Err(capacity), "{lane:?} is full");
        let expected: Vec<_> = (0..capacity).map(|item| (OUTSIDE, item)).collect();
        assert_eq!(take_all(&ends[1].inbox, lane), expected);
    }
    assert!(ends[0].inbox.is_empty() && ends[1].inbox.is_empty());
}

#[test]
fn the_share_of_a_data_lane_stays_within_its_bounds() {
    for (shards, data) in [
        (0, MESH_DATA_ITEMS_MAX),
        (1, MESH_DATA_ITEMS_MAX),
        (4, MESH_DATA_ITEMS_MAX),
        (5, MESH_DATA_ITEMS_TOTAL / 5),
        (64, MESH_DATA_ITEMS_MIN),
        (65, MESH_DATA_ITEMS_MIN),
    ] {
        assert_eq!(Capacities::for_shards(shards), Capacities { control: MESH_CONTROL_ITEMS, data }, "{shards}");
    }
}

#[test]
fn an_end_is_taken_once() {
    let (mut mesh, _ends) = small(1);
    assert!(mesh.take_end(ShardId(0)).is_none() && mesh.take_end(ShardId(1)).is_none());
}

#[test]
fn an_outbox_wakes_each_peer_once_and_only_if_it_sleeps() {
    let (_mesh, mut ends) = small(3);
    ends[1].inbox.bell().announce();
    for to in [1, 1, 2] {
        ends[0].outbox.try_put(ShardId(to), Lane::Data, 7).unwrap();
    }
    assert_eq!(ends[0].outbox.wake_all(), 1, "shard 2 is awake");
    assert_eq!(ends[0].outbox.wake_all(), 0, "nothing was put since");
    ends[0].outbox.try_put(ShardId(1), Lane::Data, 7).unwrap();
    assert_eq!(ends[0].outbox.wake_all(), 0, "the bell rang before");
}

#[test]
fn order_holds_per_sender_and_no_item_is_left_with_a_sleeping_owner() {
    const ITEMS: u64 = 20_000;
    const SENDERS: u16 = 3;
    let mut mesh = Mesh::new(1, Capacities { control: 4, data: 64 }).unwrap();
    let end = mesh.take_end(ShardId(0)).unwrap();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let post = mesh.post(ShardId(100 + sender));
            thread::spawn(move || {
                for item in 0..ITEMS {
                    let lane = if item % 16 == 0 { Lane::Control } else { Lane::Data };
                    while post.try_put(ShardId(0), lane, item).is_err() {
                        thread::yield_now();
                    }
                    post.wake(ShardId(0));
                    // Uneven gaps, so that the owner falls asleep in the midst of it.
                    (0..(item * 7919) % 97).for_each(|_| std::hint::spin_loop());
                }
            })
        })
        .collect();
    let mut next = [[0_u64; 2]; SENDERS as usize];
    let mut taken = 0;
    while taken < u64::from(SENDERS) * ITEMS {
        for (index, lane) in [Lane::Control, Lane::Data].into_iter().enumerate() {
            for (from, item) in take_all(&end.inbox, lane) {
                let seen = &mut next[from.index() - 100][index];
                assert!(item >= *seen, "{from:?} {lane:?}: {item} after {seen}");
                *seen = item + 1;
                taken += 1;
            }
        }
        end.inbox.bell().announce();
        if end.inbox.is_empty() && taken < u64::from(SENDERS) * ITEMS {
            sleep(end.inbox.bell());
        }
        end.inbox.bell().rise();
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert!(end.inbox.is_empty());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a machine that has no core for both sides is not waited for")]
fn either_the_owner_sees_the_item_or_the_sender_sees_the_sleep() {
    const ROUNDS: u64 = 200_000;
    // Where the two sides have no core each, a round is two turns of the scheduler.
    const ENOUGH: u64 = 1000;
    let began = Instant::now();
    let mut mesh = Mesh::new(1, Capacities { control: 1, data: 1 }).unwrap();
    let end = mesh.take_end(ShardId(0)).unwrap();
    let post = mesh.post(OUTSIDE);
    let (round, answer) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (rounds, answers) = (Arc::clone(&round), Arc::clone(&answer));
    let sender = thread::spawn(move || {
        for number in 1..=ROUNDS {
            if await_value(&rounds, |round| round >= number) == u64::MAX {
                return;
            }
            // With the flag in its cache, the owner's announcement takes a while to get through.
            let early = post.wake(ShardId(0));
            // A little earlier or later each time, so that the two sides meet at every point.
            (0..number % 23).for_each(|_| std::hint::spin_loop());
            post.try_put(ShardId(0), Lane::Data, number).unwrap();
            let rang = post.wake(ShardId(0)) || early;
            answers.store(number * 2 + u64::from(rang), Ordering::Release);
        }
    });
    for number in 1..=ROUNDS {
        if number > ENOUGH && began.elapsed() > Duration::from_secs(5) {
            round.store(u64::MAX, Ordering::Release);
            break;
        }
        round.store(number, Ordering::Release);
        (0..number % 29).for_each(|_| std::hint::spin_loop());
        end.inbox.bell().announce();
        let seen = !end.inbox.is_empty();
        let answer = await_value(&answer, |answer| answer >= number * 2);
        assert!(seen || answer == number * 2 + 1, "round {number}: the item is left with a sleeping owner");
        end.inbox.bell().rise();
        assert_eq!(end.inbox.try_take(Lane::Data), Some((OUTSIDE, number)));
    }
    sender.join().unwrap();
}

/// Spins until a value is as wanted, and gives way when the other side has no core.
fn await_value(value: &AtomicU64, wanted: impl Fn(u64) -> bool) -> u64 {
    for spins in 1_u32.. {
        let now = value.load(Ordering::Acquire);
        if wanted(now) {
            return now;
        }
        if spins % 256 == 0 {
            thread::yield_now();
        }
        std::hint::spin_loop();
    }
    unreachable!("four billion looks without an answer")
}

/// Sleeps on the bell and takes its count, as an owner without an edge-triggered poll must.
fn sleep(bell: &Bell) {
    use std::os::fd::AsFd;
    let deadline = Timespec::try_from(Duration::from_secs(5)).unwrap();
    let woken = poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&deadline)).unwrap();
    assert_eq!(woken, 1, "a wake was lost: an item waited five seconds");
    rustix::io::read(bell.as_fd(), &mut [0_u8; 8]).unwrap();
}
