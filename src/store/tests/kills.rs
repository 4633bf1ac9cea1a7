//! A process of its own is killed while it commits, again and again on one directory.
//!
//! This test runs itself as that process. It tells every number that it gives out and every acknowledgement, one line
//! each, before it goes on; what the kernel has of these lines when it is dead counts.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;

const DIRECTORY: &str = "WAYSTATION_STORE_KILLED";
/// How often it is killed; by default few times, since every round starts a process.
const ROUNDS: &str = "WAYSTATION_STORE_KILLS";
const SELF: &str = "store::tests::kills::what_was_acknowledged_survives_every_kill_once_and_in_order";
const CHANNELS: usize = 6;

/// Appends until it is killed.
fn be_killed(path: &Path) {
    let mut store = Played::on(path, 2);
    let pasts: Vec<Past> = (0..CHANNELS).map(|index| store.open(index % 2, &format!("chat:{index}"))).collect();
    let mut next: Vec<u64> = pasts.iter().map(|past| past.start.next.0).collect();
    let mut waiting: Vec<(usize, Ticket, usize, u64)> = Vec::new();
    let mut out = std::io::stdout();
    // Behind what the harness has begun to say.
    out.write_all(b"\n").unwrap();
    loop {
        let mut lines = String::new();
        for (index, past) in pasts.iter().enumerate() {
            for _ in 0..=index {
                let seq = next[index];
                next[index] += 1;
                lines += &format!("given {index} {seq} {}\n", past.start.epoch.0);
                waiting.push((index % 2, Ticket(0), index, seq));
            }
        }
        out.write_all(lines.as_bytes()).unwrap();
        for (shard, ticket, index, seq) in waiting.iter_mut().filter(|(_, ticket, ..)| ticket.0 == 0) {
            *ticket = store.append(*shard, &pasts[*index], *seq);
        }
        for shard in 0..2 {
            while waiting.iter().filter(|(of, ..)| *of == shard).count() > 40 {
                let Notice::Committed(through) = store.next(shard) else { continue };
                let mut lines = String::new();
                waiting.retain(|(of, ticket, index, seq)| {
                    let done = *of == shard && *ticket <= through;
                    if done {
                        lines += &format!("acked {index} {seq}\n");
                    }
                    !done
                });
                out.write_all(lines.as_bytes()).unwrap();
            }
        }
    }
}

#[test]
fn what_was_acknowledged_survives_every_kill_once_and_in_order() {
    if let Ok(path) = std::env::var(DIRECTORY) {
        return be_killed(Path::new(&path));
    }
    let place = Place::new("kills");
    let rounds: u64 = std::env::var(ROUNDS).ok().map_or(3, |rounds| rounds.parse().unwrap());
    let (mut given, mut acked) = (BTreeMap::new(), BTreeMap::<usize, Vec<u64>>::new());
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", SELF, "--nocapture", "--test-threads", "1"])
            .env(DIRECTORY, &place.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut acks, wanted) = (0, 1 + (round * 7919) % 400);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while let Some(Ok(line)) = lines.next() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["given", channel, seq, epoch] => {
                    let key: (usize, u64) = (channel.parse().unwrap(), seq.parse().unwrap());
                    let epoch: u64 = epoch.parse().unwrap();
                    assert_eq!(given.insert(key, epoch), None, "round {round}: {key:?} stands for two contents");
                }
                ["acked", channel, seq] => {
                    acks += 1;
                    acked.entry(channel.parse().unwrap()).or_default().push(seq.parse().unwrap());
                }
                _ => {}
            }
            if acks == wanted {
                child.kill().unwrap();
                // It is read to its end all the same: what was told before the kill counts.
                acks += 1;
            }
        }
        child.wait().unwrap();
        assert!(acks > wanted, "round {round}: it ended by itself");
    }
    let mut store = Played::on(&place.0, 1);
    assert_eq!(store.state.generation, rounds);
    let mut count = 0;
    for (index, acked) in &acked {
        let past = store.open(0, &format!("chat:{index}"));
        let found = store.read(0, past.channel, u64::MAX - 1).unwrap();
        assert!(found.is_sorted_by(|one, other| one < other));
        assert!(acked.iter().all(|seq| found.binary_search(seq).is_ok()), "channel {index} lost something");
        assert!(found.iter().all(|seq| given.contains_key(&(*index, *seq))), "channel {index} made something up");
        for seq in &found {
            assert_eq!(past.line.epoch_of(Seq(*seq)), given.get(&(*index, *seq)).map(|epoch| Epoch(*epoch)));
        }
        count += acked.len();
    }
    assert!(count >= CHANNELS && acked.len() == CHANNELS, "{count} acknowledged in {} channels", acked.len());
    store.stop().unwrap();
}
