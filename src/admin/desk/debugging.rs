//! Debugging a user or a connection: its records go to the log for a while, at debug, whatever the filter says.
//!
//! It looks at the recorders as `tail` does, so the shards have nothing to do for it. It ends by itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use glommio::timer::Timer;
use serde_json::{Value as Json, json};

use super::Desk;
use super::order::{DebugOrder, Refused};
use crate::admin::api::sweep;
use crate::admin::trail::{Look, Trail, Wanted};
use crate::limits::{DEBUGGED_MAX, TAIL_LOOK_MS};
use crate::mesh::{Level, Line, Value};
use crate::shard::message::outside::{Act, Whose};

/// Who is debugged.
#[derive(Debug, Default)]
pub(super) struct Debugging {
    debugged: RefCell<Vec<(u64, Wanted)>>,
    next: Cell<u64>,
}

impl Debugging {
    /// One more, in the place of one that is the same. `None` if there are as many as may be.
    fn begin(&self, wanted: &Wanted) -> Option<u64> {
        self.end(wanted);
        let mut debugged = self.debugged.borrow_mut();
        if debugged.len() >= DEBUGGED_MAX {
            return None;
        }
        let number = self.next.replace(self.next.get() + 1);
        debugged.push((number, wanted.clone()));
        Some(number)
    }

    /// Ends it. Returns whether it was.
    fn end(&self, wanted: &Wanted) -> bool {
        let mut debugged = self.debugged.borrow_mut();
        let before = debugged.len();
        debugged.retain(|(_, other)| other != wanted);
        debugged.len() < before
    }

    fn goes_on(&self, number: u64) -> bool {
        self.debugged.borrow().iter().any(|(other, _)| *other == number)
    }

    fn count(&self) -> usize {
        self.debugged.borrow().len()
    }
}

impl Desk {
    /// # Cancel safety
    /// Debugging may have begun all the same.
    pub(super) async fn debug(self: &Rc<Self>, order: DebugOrder) -> Result<Json, Refused> {
        let on = order.on;
        let (wanted, seconds) = order.usable()?;
        if !on {
            let ended = self.debugging.end(&wanted);
            return Ok(json!({ "done": true, "ended": ended, "debugged": self.debugging.count() }));
        }
        if self.tools.rings.is_empty() {
            let what = "the recorder is off, and debugging reads it".to_owned();
            return Err(Refused { what, remedy: "set recorder.bytes, and start the gateway anew", passing: false });
        }
        let number = self.debugging.begin(&wanted).ok_or_else(|| Refused {
            what: format!("{DEBUGGED_MAX} are debugged already"),
            remedy: "end one with `off`, or wait until one ends by itself",
            passing: true,
        })?;
        let whose = match (wanted.connection, &wanted.user) {
            (Some(name), _) => Whose::Connection(name),
            (None, user) => Whose::User(user.clone().unwrap_or_default()),
        };
        let desk = Rc::clone(self);
        glommio::spawn_local(async move { desk.follow(number, wanted, seconds).await }).detach();
        // None if a shard does not say; it may be for that that somebody debugs.
        let connections = sweep(&self.office.asker, &whose, &Act::Count).await.ok();
        let debugged = self.debugging.count();
        Ok(json!({ "done": true, "seconds": seconds, "debugged": debugged, "connections": connections }))
    }

    async fn follow(&self, number: u64, wanted: Wanted, seconds: u64) {
        let asker = &self.office.asker;
        let whom = wanted.connection.map_or_else(|| wanted.user.as_deref().unwrap_or("").to_owned(), |n| n.to_string());
        let begun = vec![("whom", Value::from(&*whom)), ("seconds", Value::from(seconds))];
        self.say(self.now_ms(), "debugging begins", begun);
        let mut trail = Trail::begin(asker, &self.office.key, &self.tools.rings, wanted.clone(), true).await;
        // By the clock: where there is always more to look at, looks do not tell how long it has taken.
        let until = self.tools.started.elapsed().saturating_add(Duration::from_secs(seconds));
        while self.tools.started.elapsed() < until && self.debugging.goes_on(number) {
            let Look { shown, lost, more } = trail.look(asker).await;
            if lost > 0 {
                self.say(self.now_ms(), "records were overwritten before they were read", vec![("lost", lost.into())]);
            }
            for record in shown {
                self.say(self.unix_ms(record.micros), record.kind.name(), record.fields);
            }
            if more {
                glommio::executor().yield_now().await;
            } else {
                Timer::new(Duration::from_millis(TAIL_LOOK_MS)).await;
            }
        }
        if self.debugging.goes_on(number) {
            self.debugging.end(&wanted);
        }
        self.say(self.now_ms(), "debugging ends", vec![("whom", Value::from(&*whom))]);
    }

    fn say(&self, unix_ms: u64, message: &str, fields: Vec<(&'static str, Value)>) {
        let target = "waystation::debug";
        self.tools.log.say(Line { unix_ms, level: Level::Debug, target, message: message.into(), fields });
    }

    fn now_ms(&self) -> u64 {
        self.unix_ms(u64::try_from(self.tools.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_debugged_as_the_bound_says_each_once() {
        let debugging = Debugging::default();
        let wanted = |n: usize| Wanted { user: Some(n.to_string().into()), ..Wanted::default() };
        let numbers: Vec<_> = (0..DEBUGGED_MAX).map(|n| debugging.begin(&wanted(n)).unwrap()).collect();
        assert_eq!(debugging.begin(&wanted(DEBUGGED_MAX)), None);
        let again = debugging.begin(&wanted(3)).unwrap();
        assert!(!debugging.goes_on(numbers[3]) && debugging.goes_on(again), "the time begins anew");
        assert!(debugging.end(&wanted(0)) && !debugging.end(&wanted(0)));
        assert!(debugging.begin(&wanted(DEBUGGED_MAX)).is_some());
        assert_eq!(debugging.count(), DEBUGGED_MAX);
    }
}
