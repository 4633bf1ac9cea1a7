//! The lives that connections lead: how they talk, and how they end.

use std::io::{self, Write as _};
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Field, Proof, Trouble, Weather};
use crate::tagged::{Door, Random, frame, message};

/// Messages of a chat that may be under way at once: a room that remembers 100 lets none of its members fall
/// further behind.
const CHAT_POUR_MAX: u64 = 60;

/// Lives one life after the other.
pub(crate) fn storm(field: &Field<'_>, mut random: Random, until: Instant) {
    while Instant::now() < until {
        if field.weather() != Weather::Storm {
            thread::sleep(Duration::from_millis(10));
            continue;
        }
        let life: fn(&Field<'_>, Door, &mut Random) -> _ = match random.below(10) {
            0..=2 => talk,
            3 => pour,
            4 => crowd,
            5..=6 => dribble,
            _ => vanish,
        };
        let door = some_door(&mut random);
        match life(field, door, &mut random) {
            Ok(()) => {}
            Err(trouble) if trouble.misdelivered => println!("misdelivered: {}", trouble.text),
            Err(trouble) => {
                if field.counts.failed.fetch_add(1, Relaxed) < 20 {
                    println!("failed, {door:?}: {}", trouble.text);
                }
            }
        }
    }
}

const fn some_door(random: &mut Random) -> Door {
    match random.below(8) {
        0..=3 => Door::Chat,
        4..=6 => Door::Echo,
        _ => Door::Open,
    }
}

const fn some_proof(random: &mut Random) -> Proof {
    if random.one_in(2) { Proof::Early } else { Proof::Late }
}

/// Talks, with up to a few messages under way.
fn talk(field: &Field<'_>, door: Door, random: &mut Random) -> Result<(), Trouble> {
    let mut client = Client::open(field, door, some_proof(random))?;
    for _ in 0..=random.below(20) {
        for _ in 0..=random.below(4) {
            client.send(1 + random.below(2000))?;
        }
        client.receive(client.sent, field.counts)?;
    }
    end(field, client, random)
}

/// Sends far more than the socket buffers hold while another thread reads, so that writes fall short.
fn pour(field: &Field<'_>, door: Door, random: &mut Random) -> Result<(), Trouble> {
    let mut client = Client::open(field, door, some_proof(random))?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&client.socket, 64 * 1024).map_err(io::Error::from)?;
    let mut writer = client.socket.try_clone()?;
    let (id, len) = (client.id, 1 + random.below(60_000));
    let (messages, each) = match door {
        Door::Echo => (20 + random.below(200), len),
        Door::Chat | Door::Open => (CHAT_POUR_MAX, 1),
    };
    client.sent = messages * each;
    thread::scope(|scope| {
        let written = scope.spawn(move || -> io::Result<()> {
            for number in 0..messages {
                writer.write_all(&message(door, id, number * each, len))?;
            }
            Ok(())
        });
        thread::sleep(Duration::from_millis(random.below(400)));
        let received = client.receive(client.sent, field.counts);
        if received.is_err() {
            // Frees the writer.
            let _gone_already = client.socket.shutdown(Shutdown::Both);
        }
        let written = written.join().map_err(|_| Trouble::new("the writer panicked".into()))?;
        received?;
        written.map_err(Trouble::from)
    })?;
    end(field, client, random)
}

/// Opens many at once, all of which send before any reads.
fn crowd(field: &Field<'_>, door: Door, random: &mut Random) -> Result<(), Trouble> {
    let mut clients = Vec::new();
    for _ in 0..field.crowd {
        clients.push(Client::open(field, door, some_proof(random))?);
    }
    for _ in 0..=random.below(4) {
        for client in &mut clients {
            client.send(1 + random.below(9000))?;
        }
        for client in &mut clients {
            client.receive(client.sent, field.counts)?;
        }
        let stay = 1 + random.below(clients.len() as u64);
        while clients.len() as u64 > stay {
            let Some(client) = clients.pop() else { break };
            end(field, client, random)?;
        }
    }
    clients.into_iter().try_for_each(|client| end(field, client, random))
}

/// Sends the head in pieces, the last together with the first message, and perhaps not all of it.
fn dribble(field: &Field<'_>, door: Door, random: &mut Random) -> Result<(), Trouble> {
    let (mut client, mut bytes) = Client::connect(field, door, some_proof(random))?;
    bytes.extend(client.next_message(1 + random.below(3000)));
    let give_up = random.one_in(3);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let piece = usize::try_from(1 + random.below(200)).unwrap_or(1).min(rest.len());
        client.socket.write_all(&rest[..piece])?;
        rest = &rest[piece..];
        if random.one_in(4) {
            thread::sleep(Duration::from_micros(random.below(500)));
        }
        if give_up && random.one_in(6) {
            return Ok(());
        }
    }
    client.finish_opening(field.counts)?;
    client.receive(client.sent, field.counts)?;
    end(field, client, random)
}

/// Sends and goes without having read.
fn vanish(field: &Field<'_>, door: Door, random: &mut Random) -> Result<(), Trouble> {
    let mut client = Client::open(field, door, some_proof(random))?;
    for _ in 0..random.below(30) {
        client.send(1 + random.below(8000))?;
    }
    end(field, client, random)
}

/// Ends a connection in one of the ways that there are.
fn end(field: &Field<'_>, client: Client, random: &mut Random) -> Result<(), Trouble> {
    let counts = field.counts;
    let way: (fn(_, _, &mut _) -> _, &AtomicU64) = match random.below(6) {
        0 => (close, &counts.clean),
        1 => (reset, &counts.resets),
        2 => (cut, &counts.cut),
        3 => (shut, &counts.half_shut),
        4 => (drop_unread, &counts.dropped),
        _ => (be_refused, &counts.refused),
    };
    way.0(field, client, random)?;
    way.1.fetch_add(1, Relaxed);
    Ok(())
}

/// RFC 6455 section 7: a close frame, what is still under way, a close frame back.
fn close(field: &Field<'_>, mut client: Client, _: &mut Random) -> Result<(), Trouble> {
    client.socket.write_all(&frame(0x8, client.id, &1000_u16.to_be_bytes()))?;
    client.receive_to_the_end(field.counts)?;
    expect_close(&client, 1000)
}

fn expect_close(client: &Client, code: u16) -> Result<(), Trouble> {
    if client.closed == Some(code) {
        return Ok(());
    }
    Err(Trouble::new(format!("connection {} should have been closed {code}, not {:?}", client.id, client.closed)))
}

/// With answers under way, which meet a socket that is gone.
fn reset(_: &Field<'_>, mut client: Client, random: &mut Random) -> Result<(), Trouble> {
    for _ in 0..random.below(4) {
        client.send(1 + random.below(5000))?;
    }
    client.reset()
}

/// Goes in the middle of a frame, by a reset or in order.
fn cut(_: &Field<'_>, mut client: Client, random: &mut Random) -> Result<(), Trouble> {
    let frame = client.next_message(1 + random.below(5000));
    let part = 1 + random.below(frame.len() as u64 - 1);
    client.socket.write_all(&frame[..usize::try_from(part).unwrap_or(1)])?;
    if random.one_in(2) { client.reset() } else { Ok(()) }
}

/// Shuts writing down and reads what still comes.
fn shut(field: &Field<'_>, mut client: Client, random: &mut Random) -> Result<(), Trouble> {
    for _ in 0..random.below(4) {
        client.send(1 + random.below(5000))?;
    }
    client.finish_writing()?;
    client.receive_to_the_end(field.counts)
}

fn drop_unread(_: &Field<'_>, mut client: Client, random: &mut Random) -> Result<(), Trouble> {
    for _ in 0..1 + random.below(4) {
        client.send(1 + random.below(5000))?;
    }
    Ok(())
}

/// Breaks a rule and goes on talking: the server closes, and what comes meanwhile is dropped.
fn be_refused(field: &Field<'_>, mut client: Client, random: &mut Random) -> Result<(), Trouble> {
    let (broken, code) = match (random.below(3), client.door) {
        // RFC 6455 section 5.1: a client masks.
        (0, _) => (vec![0x82, 0x01, 0x00], 1002),
        // Reserved bits without an extension.
        (1, _) => (vec![0xf2, 0x80, 0, 0, 0, 0], 1002),
        (_, Door::Chat | Door::Open) => (frame(0x2, client.id, b"binary"), 1003),
        // 16 MiB and one byte are announced.
        (_, Door::Echo) => (vec![0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0], 1009),
    };
    client.defiant = true;
    client.socket.write_all(&broken)?;
    for _ in 0..random.below(4) {
        client.send(1 + random.below(5000))?;
    }
    client.receive_to_the_end(field.counts)?;
    expect_close(&client, code)
}
