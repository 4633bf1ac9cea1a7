//! The row of connections that end.

use waystation::limits::WHEEL_SLOT_MS;
use waystation::shard::Input;

use super::World;
use super::rows::Work;

/// Connections that a drain closes, and that have sent nothing of which the answer is under way: from the time of the wave
/// to their last frames, which a system call would take.
pub(crate) struct Closing {
    world: World,
    rooms: usize,
    members: usize,
}

impl Closing {
    pub(crate) fn new(count: u32, members: u32) -> Self {
        let (rooms, members) = ((count / members) as usize, members as usize);
        Self { world: World::new(), rooms, members }
    }
}

impl Work for Closing {
    fn prepare(&mut self) {
        // A shard drains once.
        self.world = World::with_rooms(self.rooms, self.members);
        self.world.shard.handle(self.world.now, Input::Drain(0), &mut self.world.effects);
        self.world.settle();
        self.world.tick(WHEEL_SLOT_MS);
    }

    fn run(&mut self) {
        let now = self.world.now;
        while self.world.shard.next_deadline().is_some_and(|at| at <= now.millis()) {
            self.world.shard.on_time(now, &mut self.world.effects);
            self.world.settle();
        }
    }
}
