//! Doing what the shard asked for.

use super::sockets::Phase;
use super::turn::Host;
use crate::ids::{ConnId, ShardId};
use crate::mesh::{AdminJob, Parcel, Transport};
use crate::metrics::Metric;
use crate::shard::Input;
use crate::shard::effect::{Closing, Effect};
use crate::shard::message::{AdminRequest, Lane, Passport};

impl Host {
    /// Does all effects in their order, and those that follow from them.
    pub(super) fn apply(&mut self) {
        while !self.effects.list.is_empty() {
            let mut doing = std::mem::take(&mut self.doing);
            std::mem::swap(&mut doing, &mut self.effects.list);
            for effect in doing.drain(..) {
                self.perform(effect);
            }
            self.doing = doing;
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Write(conn) => self.sockets.mark_dirty(conn),
            Effect::Stream(conn) | Effect::Resume(conn) => self.enter(conn, Phase::Streaming),
            Effect::Pause(conn) => self.enter(conn, Phase::Paused),
            Effect::Close(conn, Closing::Abort) => self.enter(conn, Phase::Closing),
            Effect::Close(conn, Closing::Linger) => {
                self.sockets.linger(conn, self.now.millis());
                self.settle_later(conn);
            }
            Effect::HandOver(conn, to, passport) => self.hand_over(conn, to, passport),
            Effect::Admin(conn, request) => self.hand_to_admin(conn, request),
            Effect::Answer(answered) => {
                // Nobody waits beyond the deadline: who asked is told that no answer came.
                let put = self.answers.as_ref().is_some_and(|post| post.try_put(*answered).is_ok());
                self.metrics.add(Metric::AnswersDropped, u64::from(!put));
            }
            Effect::Store(ticket, request) => self.storing.put(ticket, *request),
            Effect::Read(ticket, read) => self.storing.read(ticket, *read),
            Effect::Mesh(to, message) => {
                let put = self.kept.put(to, message, &mut self.outbox, &mut self.effects);
                self.metrics.count(if put { Metric::MeshSent } else { Metric::MeshFull });
            }
        }
    }

    fn enter(&mut self, conn: ConnId, phase: Phase) {
        self.sockets.set_phase(conn, phase);
        self.settle_later(conn);
    }

    /// Settles without doing what follows, which the loop over effects comes to.
    fn settle_later(&mut self, conn: ConnId) {
        if self.sockets.settle(conn, &mut self.ring) == super::sockets::Settled::Released {
            self.release(conn);
        }
    }

    fn release(&mut self, conn: ConnId) {
        self.shard.handle(self.now, Input::Released(conn), &mut self.effects);
    }

    /// Puts socket and passport into the other shard's control lane. The socket is idle: during the
    /// opening a receive is begun only after the shard has said what becomes of the last one.
    fn hand_over(&mut self, conn: ConnId, to: ShardId, passport: Box<Passport>) {
        let Some(transport) = self.sockets.take_out(conn) else {
            debug_assert!(false, "{conn:?} was handed over with something in flight");
            self.shard.handle(self.now, Input::HandOverRefused(conn), &mut self.effects);
            return;
        };
        let parcel = Parcel::Adopt(passport, transport);
        // Nothing overtakes what is kept for the same lane.
        let put = if self.kept.has_control(to) { Err(parcel) } else { self.outbox.try_put(to, Lane::Control, parcel) };
        match put {
            Ok(()) => {
                self.metrics.count(Metric::MeshSent);
                self.release(conn);
            }
            Err(refused) => {
                self.metrics.count(Metric::MeshFull);
                if let Parcel::Adopt(_, transport) = refused {
                    self.sockets.insert(conn, transport);
                }
                self.shard.handle(self.now, Input::HandOverRefused(conn), &mut self.effects);
            }
        }
    }

    /// Gives socket and request to the administration executor, or refuses them in the shard's stead.
    fn hand_to_admin(&mut self, conn: ConnId, request: Box<AdminRequest>) {
        let Some(transport) = self.sockets.take_out(conn) else {
            debug_assert!(false, "{conn:?} was given to administration with something in flight");
            self.enter(conn, Phase::Closing);
            return;
        };
        match self.try_put_admin(AdminJob { transport, request }) {
            Ok(()) => self.release(conn),
            Err(transport) => {
                transport.refuse();
                self.sockets.insert(conn, transport);
                self.sockets.linger(conn, self.now.millis());
                self.settle_later(conn);
            }
        }
    }

    fn try_put_admin(&self, job: AdminJob) -> Result<(), Transport> {
        match &self.admin {
            Some(post) => post.try_put(job).map_err(|job| job.transport),
            None => Err(job.transport),
        }
    }
}
