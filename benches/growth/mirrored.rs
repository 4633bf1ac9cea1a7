//! Several shards of a process whose messages reach each other at once: what a message costs with members elsewhere.

use std::hint::black_box;
use std::net::SocketAddr;

use waystation::ids::{ConnId, ShardId};
use waystation::metrics::Metrics;
use waystation::shard::effect::{Batch, Effect, Effects};
use waystation::shard::{Input, Options, Shard};
use waystation::time::Now;

use crate::world::pure::UPDATE_BYTES;
use crate::world::rows::Work;
use crate::world::{START_UNIX_MS, head, options, text_frame, token, update};

/// Shards, with a member of one channel on each, of whom the first publishes.
pub(crate) struct Mirrored {
    hosts: Vec<(Shard, Effects)>,
    now: Now,
    batch: Batch,
    members: Vec<ConnId>,
    received: Vec<u8>,
    writes: usize,
}

impl Mirrored {
    pub(crate) fn new(shards: u16) -> Self {
        let now = Now { micros: 0, unix_ms: START_UNIX_MS };
        let options = Options { shards, ..options() };
        let host =
            |id| (Shard::new(ShardId(id), options.clone(), Metrics::shared(), now), Effects::new(usize::from(shards)));
        let hosts = (0..shards).map(host).collect();
        let mut mirrored =
            Self { hosts, now, batch: Batch::default(), members: Vec::new(), received: Vec::new(), writes: 0 };
        for shard in 0..usize::from(shards) {
            mirrored.enter(shard);
        }
        for _ in 0..110 {
            mirrored.prepare();
            mirrored.run();
        }
        assert_eq!(mirrored.writes, usize::from(shards), "every member gets every message");
        mirrored
    }

    fn enter(&mut self, host: usize) {
        let (shard, effects) = &mut self.hosts[host];
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let conn = shard.on_accept(self.now, peer, effects).unwrap();
        shard.handle(self.now, Input::Bytes(conn, &mut head("/ws")), effects);
        self.settle();
        let token = token(&format!("load-{host:05}"));
        let auth =
            format!(r#"{{"type":"auth","token":"{token}","client":{{"name":"bench"}},"channels":["chat:bench"]}}"#);
        let (shard, effects) = &mut self.hosts[host];
        shard.handle(self.now, Input::Bytes(conn, &mut text_frame(&auth)), effects);
        self.settle();
        self.members.push(conn);
    }

    /// Turns of all shards until none has anything left to do.
    fn settle(&mut self) {
        self.writes = 0;
        let mut busy = true;
        while busy {
            busy = false;
            for index in 0..self.hosts.len() {
                let (shard, effects) = &mut self.hosts[index];
                busy |= shard.fan_out(self.now, false, effects) || !effects.list.is_empty();
                let from = ShardId(u16::try_from(index).unwrap());
                for effect in std::mem::take(&mut effects.list) {
                    self.perform(from, effect);
                }
                while let Some(conn) = self.hosts[index].0.next_behind() {
                    self.write(from, conn);
                }
                let (shard, effects) = &self.hosts[index];
                busy |= shard.has_behind() || !effects.list.is_empty();
            }
        }
    }

    fn write(&mut self, host: ShardId, conn: ConnId) {
        let (shard, effects) = &mut self.hosts[host.index()];
        shard.fill(self.now, conn, &mut self.batch);
        for part in self.batch.slices() {
            black_box(part.as_ptr());
        }
        let bytes = self.batch.bytes();
        self.writes += usize::from(bytes > 0);
        shard.written(self.now, conn, &mut self.batch, bytes, effects);
    }

    fn perform(&mut self, from: ShardId, effect: Effect) {
        match effect {
            Effect::Write(conn) => self.write(from, conn),
            Effect::Mesh(to, message) => {
                let (shard, effects) = &mut self.hosts[to.index()];
                shard.handle(self.now, Input::Mesh(from, message), effects);
            }
            Effect::HandOver(..) | Effect::Close(..) => panic!("members stay where they are"),
            _ => {}
        }
    }
}

impl Work for Mirrored {
    fn prepare(&mut self) {
        self.now.micros += 1000;
        self.now.unix_ms += 1;
        let body = update(UPDATE_BYTES).replace("trip_update", "note");
        let text = body.replacen(
            r#""type":"note","payload":"#,
            r#""type":"publish","payload":{"channel":"chat:bench","type":"note","payload":"#,
            1,
        ) + "}";
        self.received = text_frame(&text);
    }

    fn run(&mut self) {
        let (shard, effects) = &mut self.hosts[0];
        shard.handle(self.now, Input::Bytes(self.members[0], &mut self.received), effects);
        self.settle();
    }
}
