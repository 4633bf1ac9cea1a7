//! What a group publishes, compiled; and what a server leaves out of it.

use memchr::memmem::Finder;

use super::{Adapter, Batch, Delivered, Order, Publish, Step, Template, Values};
use crate::scenario::{Auth, Group, Scenario, Sizes};

/// Publishes of one kind in one group.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing<'a> {
    pub(crate) template: &'a Template,
    pub(crate) opcode: u8,
    pub(crate) sizes: Sizes,
    pub(crate) delivered: Delivered,
    /// Whether the publisher is among those who get it.
    pub(crate) to_sender: bool,
    /// Several of them leave in one frame.
    pub(crate) batch: Option<&'a Batch>,
    /// Which of the books of answers it has, if it is answered to the sender alone.
    pub(crate) book: Option<usize>,
    /// The answers to one connection come in the order of what they answer.
    pub(crate) in_order: bool,
    /// What is in an answer that says no.
    pub(crate) refused: Option<&'a Finder<'static>>,
    /// Sum of the weights up to this kind.
    weight_end: u32,
}

/// The kind of a connection's publish number `count`: by chance of the run's seed alone, so that it is the same
/// whenever and however fast it is sent.
pub(crate) fn pick(all: &[Outgoing<'_>], seed: u64, connection: u32, count: u32) -> usize {
    let Some(last) = all.last().filter(|_| all.len() > 1) else { return 0 };
    // SplitMix64: neighbouring numbers give unrelated values.
    let mut value = seed ^ (u64::from(connection) << 32 | u64::from(count));
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^= value >> 31;
    let place = u32::try_from((u128::from(value) * u128::from(last.weight_end)) >> 64).unwrap_or(0);
    all.iter().position(|kind| place < kind.weight_end).unwrap_or(0)
}

impl Adapter {
    /// Compiles what a group publishes, by kind.
    ///
    /// # Errors
    /// The adapter has no such kind, a message is too small for its body, or the kinds do not go together.
    pub(crate) fn outgoing(&self, group: &Group) -> Result<Vec<Outgoing<'_>>, String> {
        let wrong = |error: String| format!("group {}: {error}", group.name);
        let mut all = Vec::new();
        for share in group.shares() {
            let (_, publish) = self.spoken(&share.kind).map_err(wrong)?;
            let template = publish.template_with_id.as_ref().filter(|_| group.ids).unwrap_or(&publish.template);
            let around = template.bytes(&Values::default());
            let sizes = match group.total_bytes {
                Some(total) => Sizes::Fixed(total.saturating_sub(around)),
                None => share.payload_bytes.unwrap_or_else(|| group.payload_bytes.clone()),
            };
            sizes.check().map_err(wrong)?;
            let Publish { opcode, delivered, to_sender, in_order, body_bytes_max, .. } = *publish;
            if let Some(most) = body_bytes_max.filter(|&most| sizes.range().1 > most) {
                let (kind, bytes) = (&share.kind, sizes.range().1);
                return Err(wrong(format!("{kind}: body of {bytes} bytes: must be at most {most}")));
            }
            let before = all.last().map_or(0, |before: &Outgoing<'_>| before.weight_end);
            let book = (delivered == Delivered::Sender).then(|| all.iter().filter_map(|kind| kind.book).count());
            all.push(Outgoing {
                template,
                opcode,
                sizes,
                delivered,
                to_sender,
                batch: publish.batch.as_ref(),
                book,
                in_order,
                refused: publish.refused.as_ref(),
                weight_end: before + share.weight,
            });
        }
        self.check_together(group, &all).map_err(wrong)?;
        Ok(all)
    }

    fn check_together(&self, group: &Group, all: &[Outgoing<'_>]) -> Result<(), String> {
        let mut every = all.iter().filter(|kind| kind.delivered == Delivered::Every);
        let to_sender = every.clone().next().is_none_or(|kind| kind.to_sender);
        if every.any(|kind| kind.to_sender != to_sender) {
            return Err("mix: kinds that reach everybody must all reach the sender, or none of them".to_owned());
        }
        let closed = group.limit().is_some();
        if closed && all.iter().any(|kind| kind.batch.is_some()) {
            return Err("what is bounded on its way leaves one by one: a batch must be of the open loop".to_owned());
        }
        if group.acknowledge_every > 0 && self.acknowledge.is_none() {
            return Err(format!("acknowledge_every: adapter {} does not say how", self.name));
        }
        if closed && all.iter().any(|kind| kind.delivered != Delivered::Every) {
            return Err("closed loop: waits for every member, so every kind must be delivered to every one".to_owned());
        }
        if closed && !to_sender && group.sizes().contains(&1) {
            let name = &self.name;
            return Err(format!("closed loop: {name} does not deliver to the sender, so a room needs two members"));
        }
        Ok(())
    }

    /// What a server that is spoken to like this does not do in such a scenario, for people.
    pub(crate) fn without(&self, scenario: &Scenario) -> Vec<String> {
        let mut without = Vec::new();
        let named = |what: &str| what.to_owned();
        let asks = self.open.token_query.is_some()
            || self.open.token_header.is_some()
            || self.hello.iter().any(Step::needs_token);
        if scenario.auth != Auth::None && !asks {
            without.push(named("asks for no token"));
        }
        match self.deliver.order {
            Order::Room => {}
            Order::Publisher => without.push(named("promises no order between publishers, so none was checked")),
            Order::None => without.push(named("promises no order, so none was checked")),
        }
        if self.seq.is_none() {
            without.push(named("numbers nothing, so a client cannot see a gap"));
        }
        let mut silent = Vec::new();
        let spoken = |group| self.of(group).into_iter().flat_map(|of| group.shares().into_iter().map(move |s| (of, s)));
        for (of, share) in scenario.group.iter().flat_map(spoken) {
            let Ok((_, publish)) = of.spoken(&share.kind) else { continue };
            if publish.delivered == Delivered::Every && !publish.to_sender {
                silent.push(share.kind);
            }
        }
        silent.dedup();
        if !silent.is_empty() {
            without.push(format!(
                "does not deliver {} to the sender: one delivery less, and no order between publishers checked",
                silent.join(", ")
            ));
        }
        without
    }
}
