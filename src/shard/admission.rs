//! From the upgrade to an authenticated connection: the first frame, the welcome, the refresh of a token.

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::Shard;
use super::connection::Stage;
use super::edge::Go;
use super::effect::Effects;
use super::timers::Timer;
use crate::auth::caps::{Verb, Verbs};
use crate::auth::token::{Claims, TokenError, Verifier};
use crate::census::addresses::Question;
use crate::code::{CloseCode, ErrorCode};
use crate::envelope::notice::{self, Admitted};
use crate::envelope::tripsage::canonical;
use crate::envelope::{AuthFrame, Command, Encoding, Inbound, Rejected};
use crate::ids::{ConnId, Position};
use crate::limits::{PING_AFTER_MS, REFUSALS_ALIKE_MAX};
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::time::Now;
use crate::wire::encoder::close_frame;

/// This server's version, as clients are told it.
const SERVER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why a first frame does not let its sender in.
struct Denied {
    code: ErrorCode,
    close: CloseCode,
    text: &'static str,
}

impl Denied {
    const MALFORMED: Self = Self {
        code: ErrorCode::InvalidMessageFormat,
        close: CloseCode::BAD_AUTH,
        text: "the first frame must be a valid authentication frame",
    };
    const TOKEN: Self =
        Self { code: ErrorCode::AuthFailed, close: CloseCode::TOKEN, text: "the token is not acceptable" };
    const EXPIRED: Self =
        Self { code: ErrorCode::TokenExpired, close: CloseCode::TOKEN, text: "the token has expired" };
    const FORBIDDEN: Self = Self {
        code: ErrorCode::PermissionDenied,
        close: CloseCode::WRONG_USER,
        text: "the token does not permit this endpoint",
    };
    const OTHERS: Self = Self { text: "this endpoint is another user's", ..Self::FORBIDDEN };
    const WRONG_USER: Self =
        Self { code: ErrorCode::AuthFailed, close: CloseCode::WRONG_USER, text: "the token is another user's" };

    const fn of(error: TokenError) -> Self {
        match error {
            TokenError::Expired => Self::EXPIRED,
            TokenError::Invalid => Self::TOKEN,
        }
    }
}

impl Shard {
    /// A text before authentication: the token, a sign of life, or the end.
    pub(super) fn on_first_text(
        &mut self,
        now: Now,
        id: ConnId,
        text: &str,
        parsed: Result<Inbound<'_>, Rejected<'_>>,
        effects: &mut Effects,
    ) -> Go {
        let auth = match parsed.map(|inbound| inbound.command) {
            Ok(Command::Auth(auth)) => auth,
            Ok(Command::Heartbeat | Command::Ping { .. } | Command::Pong) => return Go::On,
            Ok(_) | Err(_) => {
                let denied = self.denied_again(now, id, text, Denied::MALFORMED);
                return self.deny(now, id, &denied, effects);
            }
        };
        match self.judge(now, id, &auth) {
            Ok(claims) => {
                if let Some(conn) = self.slots.find_mut(id) {
                    conn.known = auth.client.is_some();
                    conn.bundles = auth.client.is_some_and(|client| client.batch);
                }
                self.reply_success(now, id, &claims, &auth.channels, effects);
                let user = self.user_key(&claims.user);
                self.welcome_with(now, id, claims, &auth, effects);
                if !self.options.limits.upgrades.is_unlimited() {
                    // The upgrade counts now that it is known whose it was.
                    self.ask_address(now, id, Question::Upgrade { user, seat: false }, effects);
                }
                Go::On
            }
            Err(denied) if auth.client.is_some() => self.deny(now, id, &denied, effects),
            Err(denied) => {
                let denied = self.denied_again(now, id, text, denied);
                self.deny(now, id, &denied, effects)
            }
        }
    }

    /// The refusal of a legacy client: the same address with the same frame at the same endpoint, again and again, is
    /// a client that no other code than 1000 stops.
    fn denied_again(&mut self, now: Now, id: ConnId, text: &str, denied: Denied) -> Denied {
        let Some(conn) = self.slots.find(id) else { return denied };
        let mut hasher = SipHasher13::new_with_key(&self.options.key);
        (conn.peer, conn.door, conn.own.as_deref(), text).hash(&mut hasher);
        if self.repeats.note(now.millis(), hasher.finish()) > REFUSALS_ALIKE_MAX {
            return Denied { close: CloseCode::NORMAL, ..denied };
        }
        denied
    }

    /// Who sends an authentication frame, and whether that user may be here.
    fn judge(&self, now: Now, id: ConnId, auth: &AuthFrame<'_>) -> Result<Claims, Denied> {
        let token = auth.token.ok_or(Denied::MALFORMED)?;
        let claims = self.options.verifier.verify(token, now.unix_seconds()).map_err(Denied::of)?;
        let conn = self.slots.find(id);
        let own = conn.and_then(|conn| conn.own.as_deref().map(|channel| (conn.door, channel)));
        match own {
            Some((door, channel)) if door.owner(channel).is_some_and(|owner| owner != &*claims.user) => {
                Err(Denied::OTHERS)
            }
            Some((_, channel)) if !self.permits(&claims, channel, Verb::Subscribe) => Err(Denied::FORBIDDEN),
            _ => Ok(claims),
        }
    }

    /// Lets an authenticated connection in that asked for nothing beyond its endpoint.
    pub(super) fn welcome(&mut self, now: Now, id: ConnId, claims: Claims, effects: &mut Effects) {
        if self.slots.find(id).is_some_and(|conn| conn.door.is_flat()) {
            let proven = claims.are_proven();
            self.metrics.count(Metric::Authenticated);
            self.open(now, id, claims);
            self.welcome_flat(now, id, effects);
            // Whoever names a user without proof must not take the user's places and rate.
            if proven {
                self.check_in(now, id, effects);
            }
            return;
        }
        self.welcome_with(now, id, claims, &AuthFrame::default(), effects);
    }

    pub(super) fn welcome_with(
        &mut self,
        now: Now,
        id: ConnId,
        claims: Claims,
        auth: &AuthFrame<'_>,
        effects: &mut Effects,
    ) {
        self.metrics.count(Metric::Authenticated);
        let granted: Vec<&str> = auth.channels.iter().copied().filter(|name| self.may_join(&claims, name)).collect();
        let Some(conn) = self.slots.find(id) else { return };
        let (name, own) = (conn.name, conn.own.clone());
        let available = available(&claims.user, own.as_deref(), &granted);
        let available: Vec<&str> = available.iter().map(String::as_str).collect();
        let admitted = admitted(&claims, name, own.as_deref(), &available);
        let write = |stamp, out: &mut Vec<u8>| notice::write_connection_established(stamp, &admitted, out);
        let frame = self.pen.notice(now, Encoding::TRIPSAGE, write);
        self.open(now, id, claims);
        self.queue(now, id, Lane::Critical, frame, effects);
        self.check_in(now, id, effects);
        self.join_first(now, id, own.as_deref(), auth, effects);
    }

    /// From now on it is known whose the connection is.
    fn open(&mut self, now: Now, id: ConnId, claims: Claims) {
        let own = self.slots.find(id).and_then(|conn| conn.own.as_deref());
        let own_verbs = own.map_or(Verbs::NONE, |own| self.verbs(&claims, own));
        self.know(id);
        self.saw_user(now, id, &claims.user);
        let Some(conn) = self.slots.find_mut(id) else { return };
        conn.stage = Stage::Open;
        self.wheel.insert(conn.live.first_look(), Timer::Live(id));
        conn.take_claims(claims, own_verbs);
        self.watch_expiry(now, id);
    }

    /// Joins the endpoint's channel, under the name that the client uses for it, and what else it asked
    /// for; what it may not join is left out silently, as the seeds' servers do.
    fn join_first(&mut self, now: Now, id: ConnId, own: Option<&str>, auth: &AuthFrame<'_>, effects: &mut Effects) {
        let Some(user) = self.slots.find(id).and_then(|conn| conn.user()).cloned() else { return };
        let position = |channel: &str| -> Option<Position> {
            let names = auth.resume.iter();
            let mut found = names.filter(|(name, _)| full_name(name, &user) == channel);
            found.next().map(|(_, position)| *position)
        };
        let asked = |channel: &str| auth.channels.iter().find(|name| full_name(name, &user) == channel);
        if let Some(own) = own {
            let usual = if self.streams_events(id) { Encoding::EVENT_STREAM } else { Encoding::TRIPSAGE };
            let encoding = asked(own).map_or(usual, |name| canonical(name, &user).encoding);
            // The endpoint was permitted before; a full table is the only way to fail, and it is told.
            if let Err(code) = self.join(now, id, own, encoding, position(own), effects) {
                self.error(now, id, code, "the endpoint's channel cannot be joined", None, effects);
            }
            self.share_name(id, own);
        }
        for name in &auth.channels {
            let channel = full_name(name, &user);
            if own != Some(channel.as_str()) {
                let encoding = canonical(name, &user).encoding;
                match self.join(now, id, &channel, encoding, position(&channel), effects) {
                    Ok(()) => {}
                    // Left out silently, as the seeds' servers do: it is not in the reply either.
                    Err(code @ ErrorCode::PermissionDenied) => self.saw_refused(now, id, code),
                    Err(code) => {
                        self.error(now, id, code, "a channel that was asked for cannot be joined", None, effects)
                    }
                }
            }
        }
    }

    /// One copy of the endpoint channel's name serves the room and its members.
    pub(super) fn share_name(&mut self, id: ConnId, own: &str) {
        let room = self.rooms.find(own).and_then(|room| self.rooms.at(room));
        if let (Some(room), Some(conn)) = (room, self.slots.find_mut(id)) {
            conn.own = Some(std::sync::Arc::clone(&room.name));
        }
    }

    fn reply_success(&mut self, now: Now, id: ConnId, claims: &Claims, asked: &[&str], effects: &mut Effects) {
        let Some(conn) = self.slots.find(id) else { return };
        let granted: Vec<&str> = asked.iter().copied().filter(|name| self.may_join(claims, name)).collect();
        let available = available(&claims.user, conn.own.as_deref(), &granted);
        let available: Vec<&str> = available.iter().map(String::as_str).collect();
        let admitted = admitted(claims, conn.name, conn.own.as_deref(), &available);
        let frame = self.pen.text(|out| notice::write_auth_success(&admitted, out));
        self.queue(now, id, Lane::Critical, frame, effects);
    }

    fn may_join(&self, claims: &Claims, name: &str) -> bool {
        self.permits(claims, &full_name(name, &claims.user), Verb::Subscribe)
    }

    fn deny(&mut self, now: Now, id: ConnId, denied: &Denied, effects: &mut Effects) -> Go {
        self.metrics.count(Metric::RefusedToken);
        self.saw_refused(now, id, denied.code);
        if denied.code == Denied::TOKEN.code && denied.close == Denied::TOKEN.close {
            self.ask_address(now, id, Question::BadToken, effects);
        }
        let reply = self.pen.text(|out| notice::write_auth_failure(denied.code, denied.text, out));
        self.queue(now, id, Lane::Critical, reply, effects);
        // The seeds' client stops on this reply and would try again after any other event, so no other goes
        // before the close frame.
        self.end_at_once(now, id, close_frame(denied.close, denied.text), Metric::ClosedToken, effects);
        Go::Stop
    }

    /// A further authentication frame: the same user with a new token, or an answer to a client that was
    /// admitted by its request already and authenticates all the same.
    pub(super) fn on_refresh(&mut self, now: Now, id: ConnId, auth: &AuthFrame<'_>, effects: &mut Effects) {
        let judged = self.judge(now, id, auth);
        let Some(conn) = self.slots.find_mut(id) else { return };
        match judged {
            Ok(claims) if conn.user() != Some(&claims.user) => {
                self.deny(now, id, &Denied::WRONG_USER, effects);
            }
            Ok(claims) => {
                conn.known |= auth.client.is_some();
                conn.bundles = auth.client.map_or(conn.bundles, |client| client.batch);
                self.reply_success(now, id, &claims, &auth.channels, effects);
                self.saw_user(now, id, &claims.user);
                let own = self.slots.find(id).and_then(|conn| conn.own.as_deref());
                let own_verbs = own.map_or(Verbs::NONE, |own| self.verbs(&claims, own));
                if let Some(conn) = self.slots.find_mut(id) {
                    conn.take_claims(claims, own_verbs);
                }
                self.watch_anew(now, id);
                self.end_forbidden_patterns(now, id, effects);
                self.end_forbidden_methods(now, id, effects);
                self.leave_forbidden(now, id, effects);
                self.attend_anew(now, id, effects);
                self.join_first(now, id, None, auth, effects);
            }
            Err(denied) => {
                self.deny(now, id, &denied, effects);
            }
        }
    }

    /// Other keys from now on. Who is in stays until the own token ends, whatever key signed it.
    pub(super) fn on_keys(&mut self, verifier: Arc<Verifier>) {
        if verifier.generation > self.options.verifier.generation {
            self.metrics.set(Metric::KeysGeneration, u64::from(verifier.generation));
            self.options.verifier = verifier;
        }
    }

    /// No token came in time.
    pub(super) fn on_auth_deadline(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let late = self.slots.find(id).is_some_and(|conn| matches!(conn.stage, Stage::Auth));
        if late && !self.waits_on(now, id, Timer::Auth(id)) {
            self.metrics.count(Metric::RefusedLate);
            self.deny(now, id, &Denied { text: "no token came in time", ..Denied::MALFORMED }, effects);
        }
    }
}

/// The channel that a client means by a name.
pub(super) fn full_name(name: &str, user: &str) -> String {
    let mut full = String::with_capacity(name.len() + user.len());
    canonical(name, user).write(&mut full);
    full
}

/// The user's own channels, the endpoint's, and those that were asked for and granted.
fn available(user: &str, own: Option<&str>, granted: &[&str]) -> Vec<String> {
    let of_user = ["user:", "agent:", "notifications:"].map(|prefix| [prefix, user].concat());
    let common = ["general", "system_messages"].map(str::to_owned);
    let asked = own.into_iter().chain(granted.iter().copied()).map(str::to_owned);
    let mut all: Vec<String> = Vec::new();
    for name in of_user.into_iter().chain(common).chain(asked) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn admitted<'a>(
    claims: &'a Claims,
    connection: crate::ids::ConnectionName,
    own: Option<&'a str>,
    available_channels: &'a [&'a str],
) -> Admitted<'a> {
    Admitted {
        connection,
        user_id: &claims.user,
        session_id: own.and_then(|channel| channel.strip_prefix("chat:")),
        available_channels,
        expires_at_ms: Some(claims.expires_at.saturating_mul(1000)),
        heartbeat_ms: PING_AFTER_MS,
        server_version: SERVER_VERSION,
    }
}
