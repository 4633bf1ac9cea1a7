//! Channels so large that their further members stay on the shard that accepted them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::limits::HOT_CHANNELS_MAX;

/// The hot channels that this shard was told of.
#[derive(Debug, Default)]
pub(super) struct Hot {
    names: HashSet<Arc<str>>,
    /// In the order in which they became hot.
    order: VecDeque<Arc<str>>,
}

impl Hot {
    /// A channel has become hot. At the bound the oldest is forgotten: its new members gather at home again.
    pub(super) fn insert(&mut self, channel: Arc<str>) {
        if !self.names.insert(Arc::clone(&channel)) {
            return;
        }
        self.order.push_back(channel);
        if self.order.len() > HOT_CHANNELS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    /// A channel has cooled down.
    pub(super) fn remove(&mut self, channel: &str) {
        if self.names.remove(channel) {
            self.order.retain(|name| &**name != channel);
        }
    }

    /// Whether a channel is hot.
    pub(super) fn contains(&self, channel: &str) -> bool {
        self.names.contains(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_become_hot_and_cool_and_the_bound_forgets_the_oldest() {
        let mut hot = Hot::default();
        for index in 0..=HOT_CHANNELS_MAX {
            hot.insert(Arc::from(format!("trip:{index}")));
            hot.insert(Arc::from("trip:0"));
        }
        assert_eq!((hot.names.len(), hot.order.len()), (HOT_CHANNELS_MAX, HOT_CHANNELS_MAX));
        assert!(!hot.contains("trip:1") && hot.contains("trip:2"));
        hot.remove("trip:2");
        hot.remove("trip:2");
        assert!(!hot.contains("trip:2") && hot.order.len() == HOT_CHANNELS_MAX - 1);
    }
}
