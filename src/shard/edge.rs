//! Stations 1 to 5 for a connection that lives here: bytes to messages, messages to commands, and for each
//! command whether the connection may and can afford it.

use super::Shard;
use super::connection::{Awaits, Paused, Probe, Stage};
use super::effect::{Closing, Effect, Effects};
use super::paying::Fee;
use super::timers::Timer;
use crate::code::{CloseCode, ErrorCode};
use crate::envelope::{Batch, Command, Encoding, Inbound, Parser, Rejected, globetrotter, notice};
use crate::ids::ConnId;
use crate::limits::{
    BATCH_BYTES_MAX, ECHO_MESSAGE_BYTES_MAX, FLOOD_IN_A_ROW_MAX, FRAGMENTS_COUNT_MAX, FRAME_BUFFER_BYTES_KEPT_MAX,
    INVALID_IN_A_ROW_MAX, MESSAGE_BYTES_MAX, PAUSED_BYTES_MAX,
};
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::payload::Payload;
use crate::rate::Rate;
use crate::session::endpoint::Door;
use crate::time::Now;
use crate::wire::assembler::{Assembler, Incoming, Rules, Violation};
use crate::wire::encoder::{Opcode, close_frame, frame, pong_frame, write_header};
use crate::wire::http::HttpError;

/// What endpoints of text messages take.
const TEXT_RULES: Rules =
    Rules { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max: Some(FRAGMENTS_COUNT_MAX), binary: false };
/// What endpoints of flat frames take. Bytes are told to be none of their language, and the socket stays.
const FLAT_RULES: Rules = Rules { binary: true, ..TEXT_RULES };
/// What `/echo` takes.
const ECHO_RULES: Rules = Rules { message_bytes_max: ECHO_MESSAGE_BYTES_MAX, fragments_max: None, binary: true };

/// Where a message is counted.
fn received(parsed: &Result<Inbound<'_>, Rejected<'_>>) -> Metric {
    parsed.as_ref().map_or(Metric::ReceivedOther, |inbound| inbound.received)
}

/// Whether to go on with what else has come from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Go {
    On,
    /// Reading is paused; what follows is kept.
    Paused,
    /// The connection ends.
    Stop,
}

impl Shard {
    /// Bytes of a connection, whatever its stage.
    pub(super) fn on_bytes(&mut self, now: Now, id: ConnId, bytes: &mut [u8], effects: &mut Effects) {
        self.metrics.add(Metric::BytesIn, bytes.len() as u64);
        let Some(conn) = self.slots.find_mut(id) else { return };
        if let Some(paused) = conn.paused.as_mut() {
            if paused.keep(bytes) > PAUSED_BYTES_MAX {
                self.close(now, id, CloseCode::FLOODING, "flooding", effects);
            }
            return;
        }
        match conn.stage {
            Stage::Head => self.on_head_bytes(now, id, bytes, effects),
            Stage::Gate => {
                if !conn.gate_mut().is_some_and(|gate| gate.keep(bytes)) {
                    self.refuse(now, id, HttpError::HEADER_TOO_LARGE, Metric::RefusedHead, effects);
                }
            }
            Stage::Open if conn.door == Door::EventStream => self.on_stray(id, effects),
            Stage::Auth | Stage::Open | Stage::Echo => self.on_frames(now, id, bytes, effects),
            Stage::Asking | Stage::Parting | Stage::Ending | Stage::Leaving => {}
        }
    }

    /// Station 2: messages out of the bytes, one after another.
    pub(super) fn on_frames(&mut self, now: Now, id: ConnId, bytes: &mut [u8], effects: &mut Effects) {
        let (go, read) = self.read_frames(now, id, bytes, effects);
        if go == Go::Paused
            && let Some(paused) = self.slots.find_mut(id).and_then(|conn| conn.paused.as_mut())
        {
            paused.keep(&bytes[read..]);
        }
    }

    /// Reads frames until there is no more, or reading pauses. Returns how many bytes were read.
    fn read_frames(&mut self, now: Now, id: ConnId, bytes: &mut [u8], effects: &mut Effects) -> (Go, usize) {
        debug_assert!(self.echoes.is_empty(), "echoes are queued before another connection is read");
        let Some(conn) = self.slots.find_mut(id) else { return (Go::Stop, 0) };
        conn.live.on_heard(now.millis());
        if conn.probe == Probe::Asked {
            conn.probe = Probe::Answered;
        }
        let rules = match conn.door {
            Door::Echo => ECHO_RULES,
            door if door.is_flat() => FLAT_RULES,
            _ => TEXT_RULES,
        };
        // Both leave their owners for the time being, so that what they lend out does not borrow the shard.
        let mut assembler = std::mem::take(&mut conn.assembler);
        let mut parser = self.parser.take().unwrap_or_default();
        let (go, read) = self.take_messages(now, id, rules, (&mut assembler, &mut parser), bytes, effects);
        // Nothing follows the end of a connection, and nothing of one is ever another's.
        if go == Go::Stop {
            self.echoes = Vec::new();
        } else {
            self.release_echoes(id, effects);
        }
        self.parser = Some(parser);
        if let Some(conn) = self.slots.find_mut(id)
            && go != Go::Stop
        {
            conn.assembler = assembler;
        }
        (go, read)
    }

    fn take_messages(
        &mut self,
        now: Now,
        id: ConnId,
        rules: Rules,
        (assembler, parser): (&mut Assembler, &mut Parser),
        bytes: &mut [u8],
        effects: &mut Effects,
    ) -> (Go, usize) {
        let mut at = 0;
        loop {
            let go = match assembler.next(&rules, bytes, &mut at) {
                Ok(None) => return (Go::On, at),
                Ok(Some(incoming)) => self.on_incoming(now, id, parser, incoming, effects),
                Err(violation) => self.on_violation(now, id, violation, effects),
            };
            match go {
                // A refusal may have found the outbox full: a connection that ends is not read any more.
                Go::On if self.slots.find(id).is_some_and(|conn| conn.is_upgraded()) => {}
                Go::On | Go::Stop => return (Go::Stop, at),
                Go::Paused => return (Go::Paused, at),
            }
        }
    }

    fn on_incoming(
        &mut self,
        now: Now,
        id: ConnId,
        parser: &mut Parser,
        incoming: Incoming<'_>,
        effects: &mut Effects,
    ) -> Go {
        let Some(conn) = self.slots.find(id) else { return Go::Stop };
        match (incoming, &conn.stage) {
            (Incoming::Text(text), Stage::Echo) => self.echo(id, Opcode::Text, text.as_bytes(), effects),
            (Incoming::Binary(bytes), Stage::Echo) => self.echo(id, Opcode::Binary, bytes, effects),
            (Incoming::Text(text), _) => {
                self.metrics.count(Metric::MessagesIn);
                return self.on_text(now, id, parser, text, effects);
            }
            (Incoming::Ping(payload), _) => {
                self.release_echoes(id, effects);
                self.queue(now, id, Lane::Critical, pong_frame(payload), effects);
            }
            (Incoming::Pong(payload), _) => self.on_pong(now, id, payload, effects),
            // Read as a text without a value, which is not JSON either.
            (Incoming::Binary(_), _) if conn.door.is_flat() => return self.on_flat_text(now, id, parser, "", effects),
            (Incoming::Binary(_), _) => {}
            (Incoming::Close(reason), _) => {
                self.release_echoes(id, effects);
                // RFC 6455 section 5.5.1: answer with a close frame, typically with the same code.
                let answer = reason.map_or_else(|| frame(Opcode::Close, &[]), |(code, _)| close_frame(code, ""));
                self.end_at_once(now, id, answer, Metric::ClosedNormal, effects);
            }
        }
        match self.slots.find(id) {
            Some(conn) if conn.is_upgraded() => Go::On,
            _ => Go::Stop,
        }
    }

    /// Echoes of messages that came together leave together, in one piece of memory.
    fn echo(&mut self, id: ConnId, opcode: Opcode, bytes: &[u8], effects: &mut Effects) {
        self.metrics.count(Metric::MessagesIn);
        write_header(opcode, bytes.len(), &mut self.echoes);
        self.echoes.extend_from_slice(bytes);
        if self.echoes.len() >= BATCH_BYTES_MAX {
            self.release_echoes(id, effects);
        }
    }

    /// Queues the echoes so far: nothing more has come, or something follows that is none.
    fn release_echoes(&mut self, id: ConnId, effects: &mut Effects) {
        if !self.echoes.is_empty() {
            self.queue_echo(id, Payload::copy_of(&self.echoes), effects);
            self.echoes.clear();
            self.echoes.shrink_to(FRAME_BUFFER_BYTES_KEPT_MAX);
        }
    }

    fn on_violation(&mut self, now: Now, id: ConnId, violation: Violation, effects: &mut Effects) -> Go {
        self.release_echoes(id, effects);
        if violation.close == CloseCode::TOO_LARGE {
            self.error(now, id, ErrorCode::MessageTooLarge, violation.reason, None, effects);
        }
        // RFC 6455 section 7.1.7: the connection is failed; nothing more of it is read.
        let answer = close_frame(violation.close, violation.reason);
        self.end(now, id, answer, Metric::ClosedProtocol, effects);
        Go::Stop
    }

    /// Station 3 and 4: a text becomes a command that is paid for.
    fn on_text(&mut self, now: Now, id: ConnId, parser: &mut Parser, text: &str, effects: &mut Effects) -> Go {
        if self.slots.find(id).is_some_and(|conn| conn.door.is_flat()) {
            return self.on_flat_text(now, id, parser, text, effects);
        }
        let parsed = parser.parse(text);
        let Some(conn) = self.slots.find_mut(id) else { return Go::Stop };
        if matches!(conn.stage, Stage::Auth) {
            self.metrics.count(received(&parsed));
            self.saw_message(now, id, parsed.as_ref().ok(), text.len());
            return self.on_first_text(now, id, text, parsed, effects);
        }
        if conn.is_owed_too_many_answers() {
            self.metrics.count(Metric::AnswersFull);
            return self.read_later(id, text, Awaits::Answers, effects);
        }
        if self.options.policy.has_rates()
            && let Ok(inbound) = &parsed
            && self.pause_for_channel(now, id, inbound, text, effects)
        {
            return Go::Paused;
        }
        // What is malformed is the dearest to read and is answered too, so it is not free.
        let tokens = parsed.as_ref().map_or(1, |inbound| inbound.tokens);
        if tokens > 0 {
            let fee = self.charge(now, id, tokens, effects);
            let Some(conn) = self.slots.find_mut(id) else { return Go::Stop };
            match fee {
                Fee::Paid => conn.refused_in_a_row = 0,
                Fee::Late(rate, wait_ms) if conn.known => {
                    return self.on_flood(now, id, parsed.ok().as_ref(), (rate, wait_ms), effects);
                }
                fee => return self.pause(now, id, fee, text, effects),
            }
        }
        self.saw_message(now, id, parsed.as_ref().ok(), text.len());
        self.on_paid(now, id, &parsed, effects)
    }

    /// A message that is paid for, alone or in a batch.
    fn on_paid(
        &mut self,
        now: Now,
        id: ConnId,
        parsed: &Result<Inbound<'_>, Rejected<'_>>,
        effects: &mut Effects,
    ) -> Go {
        self.metrics.count(received(parsed));
        match parsed {
            Ok(inbound) => {
                let Some(conn) = self.slots.find_mut(id) else { return Go::Stop };
                conn.invalid_in_a_row = 0;
                self.on_command(now, id, inbound, effects)
            }
            Err(rejected) => self.on_invalid(now, id, rejected, effects),
        }
    }

    /// The messages of a batch, one after another; one that fails does not keep the others back.
    fn on_batch(&mut self, now: Now, id: ConnId, batch: &Batch<'_>, effects: &mut Effects) -> Go {
        for message in &batch.0 {
            if self.on_paid(now, id, message, effects) == Go::Stop {
                return Go::Stop;
            }
        }
        Go::On
    }

    /// Keeps a message that cannot be paid for yet, and reads no further.
    pub(super) fn pause(&mut self, now: Now, id: ConnId, fee: Fee, text: &str, effects: &mut Effects) -> Go {
        if let Fee::Late(_, wait_ms) = fee {
            self.metrics.count(Metric::RefusedRate);
            self.wheel.insert(now.millis().after(wait_ms), Timer::Resume(id));
        }
        let awaits = if fee == Fee::Awaited { Awaits::Loan } else { Awaits::Clock };
        self.read_later(id, text, awaits, effects)
    }

    /// Keeps a message that is not to be acted on yet, and reads no further.
    fn read_later(&mut self, id: ConnId, text: &str, awaits: Awaits, effects: &mut Effects) -> Go {
        let Some(conn) = self.slots.find_mut(id) else { return Go::Stop };
        let message = text.to_owned();
        conn.paused = Some(Box::new(Paused { message, rest: Vec::new(), read: 0, awaits }));
        conn.choked = awaits == Awaits::Answers;
        effects.list.push(Effect::Pause(id));
        self.saw_pause(id, awaits);
        Go::Paused
    }

    /// What a paused connection waited for is there: the message that waited, then the bytes behind it.
    pub(super) fn on_resume(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        let Some(paused) = conn.paused.take() else { return };
        conn.choked = false;
        // The time that was waited for the rate is not the client's silence.
        conn.live.on_heard(now.millis());
        let Paused { message, mut rest, mut read, .. } = *paused;
        let mut parser = self.parser.take().unwrap_or_default();
        let mut go = self.on_text(now, id, &mut parser, &message, effects);
        self.parser = Some(parser);
        if go == Go::On && read < rest.len() {
            let (went, more) = self.read_frames(now, id, &mut rest[read..], effects);
            (go, read) = (went, read + more);
        }
        let Some(conn) = self.slots.find_mut(id) else { return };
        let upgraded = conn.is_upgraded();
        match &mut conn.paused {
            Some(paused) if go == Go::Paused => (paused.rest, paused.read) = (rest, read),
            None if go == Go::On && upgraded => effects.list.push(Effect::Resume(id)),
            _ => {}
        }
    }

    fn on_flood(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: Option<&Inbound<'_>>,
        (rate, retry_ms): (Rate, u64),
        effects: &mut Effects,
    ) -> Go {
        self.metrics.count(Metric::RefusedRate);
        let Some(conn) = self.slots.find_mut(id) else { return Go::Stop };
        conn.refused_in_a_row += 1;
        if conn.refused_in_a_row >= FLOOD_IN_A_ROW_MAX {
            self.close(now, id, CloseCode::FLOODING, "flooding", effects);
            return Go::Stop;
        }
        self.refuse_for_rate(now, id, inbound, (rate, retry_ms), effects);
        Go::On
    }

    fn on_invalid(&mut self, now: Now, id: ConnId, rejected: &Rejected<'_>, effects: &mut Effects) -> Go {
        self.metrics.count(Metric::RefusedInvalid);
        let Some(conn) = self.slots.find_mut(id) else { return Go::Stop };
        conn.invalid_in_a_row = conn.invalid_in_a_row.saturating_add(1);
        let too_many = conn.known && conn.invalid_in_a_row >= INVALID_IN_A_ROW_MAX;
        if let Some(operation) = rejected.id.filter(|_| rejected.ack) {
            let (code, message) = (rejected.code, rejected.message);
            self.saw_refused(now, id, code);
            let write = |stamp, out: &mut Vec<u8>| notice::write_nack(stamp, operation, code, message, None, out);
            let frame = self.pen.notice(now, Encoding::TRIPSAGE, write);
            self.queue(now, id, Lane::Critical, frame, effects);
        } else {
            self.error(now, id, rejected.code, rejected.message, None, effects);
        }
        if too_many {
            self.close(now, id, CloseCode::POLICY, "too many invalid messages in a row", effects);
            return Go::Stop;
        }
        Go::On
    }

    /// Station 5 and on: does what a command asks for.
    fn on_command(&mut self, now: Now, id: ConnId, inbound: &Inbound<'_>, effects: &mut Effects) -> Go {
        match &inbound.command {
            Command::Auth(auth) => self.on_refresh(now, id, auth, effects),
            Command::Subscribe { channels, nameless, unsubscribe, since, group } => {
                self.unsubscribe(now, id, unsubscribe, effects);
                self.subscribe(now, id, (channels, nameless), (since, *group), effects);
            }
            Command::Unsubscribe { channels } => {
                self.unsubscribe(now, id, channels, effects);
                // The answer is the same whichever way the channels were named, also if there was nothing to leave.
                self.subscribe(now, id, (&[], &[]), (&[], None), effects);
            }
            Command::Chat(chat) => self.on_chat(now, id, inbound, chat, effects),
            Command::TripUpdate { changes } => self.on_trip_update(now, id, inbound, changes.as_slice(), effects),
            Command::Publish(publish) => self.on_publish(now, id, inbound, publish, effects),
            Command::Heartbeat => {
                let frame = self.pen.notice(now, Encoding::TRIPSAGE, notice::write_connection_heartbeat);
                self.queue(now, id, Lane::Low, frame, effects);
            }
            Command::Ping { timestamp } => {
                let write = |stamp, out: &mut Vec<u8>| notice::write_pong(stamp, *timestamp, out);
                let frame = self.pen.notice(now, Encoding::TRIPSAGE, write);
                self.queue(now, id, Lane::Low, frame, effects);
            }
            Command::Pong => {}
            Command::Report { kind, fields } => self.on_report(now, id, inbound, (kind, fields), effects),
            Command::Batch(batch) => return self.on_batch(now, id, batch, effects),
            Command::Request(request) => self.on_question(now, id, (request, inbound.traceparent), effects),
            Command::Response(response) => self.on_response(now, id, response, effects),
            Command::Register { methods, nameless } => {
                self.register(now, id, inbound.id, (methods, nameless), effects);
            }
            Command::Cancel { id: request } => self.on_cancel(now, id, request, effects),
            Command::Ack { position } => self.on_ack(now, id, inbound.channel, *position, effects),
            Command::Typing(typing) => self.on_typing(now, id, inbound, *typing, effects),
            Command::Cursor { fields } => self.on_relay(now, id, inbound, ("cursor_update", fields), effects),
            Command::Relay { kind, fields } => self.on_relay(now, id, inbound, (kind, fields), effects),
            Command::Unknown { .. } => {
                self.error(now, id, ErrorCode::UnknownType, "this message type is not known", None, effects);
            }
        }
        match self.slots.find(id) {
            Some(conn) if conn.is_upgraded() => Go::On,
            _ => Go::Stop,
        }
    }

    /// Tells a client that a message was refused; the connection lives on.
    pub(super) fn error(
        &mut self,
        now: Now,
        id: ConnId,
        code: ErrorCode,
        message: &str,
        details: Option<&str>,
        effects: &mut Effects,
    ) {
        self.saw_refused(now, id, code);
        let Some(conn) = self.slots.find_mut(id) else { return };
        conn.live.on_refused();
        let flat = conn.door.is_flat();
        let write = |stamp, out: &mut Vec<u8>| notice::write_connection_error(stamp, code, message, details, out);
        let frame = if flat {
            self.pen.text(|out| globetrotter::notice::write_error(code, message, now.unix_ms, out))
        } else {
            self.pen.notice(now, Encoding::TRIPSAGE, write)
        };
        self.queue(now, id, Lane::Critical, frame, effects);
    }

    /// The peer closed its side, or the socket failed.
    pub(super) fn on_gone(&mut self, id: ConnId, effects: &mut Effects) {
        if self.slots.find(id).is_some_and(|conn| !matches!(conn.stage, Stage::Leaving)) {
            self.forget(id, Closing::Abort, Metric::ClosedGone, effects);
        }
    }
}
