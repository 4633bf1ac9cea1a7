//! Error codes and close codes: number, name, whether a retry can help, and what a client should do.
//!
//! One table each. The names are the wire's (protocol.md, section 12); the close codes below 4000 are
//! RFC 6455 section 7.4.1's. Whether to reconnect is decided by the code alone.

use crate::limits::OVERLOADED_RETRY_MS;

/// Declares a fieldless enum together with the table of what its values mean.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal, $retryable:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every code, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name that goes over the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Whether the same request may succeed later without being changed.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)+ }
            }
        }
    };
}

codes! {
    /// Why a message was refused. A refusal never ends a connection by itself.
    ErrorCode {
        /// The text is no JSON (RFC 8259).
        InvalidJson = "INVALID_JSON", false;
        /// JSON, but not a message: a field is missing, of the wrong type or out of bounds.
        InvalidMessageFormat = "INVALID_MESSAGE_FORMAT", false;
        /// A message type that this server does not know.
        UnknownType = "UNKNOWN_TYPE", false;
        /// Over the message limit; the connection is closed 1009 after it.
        MessageTooLarge = "MESSAGE_TOO_LARGE", false;
        /// The token is not acceptable. One code and text for every reason but expiry.
        AuthFailed = "AUTH_FAILED", false;
        /// The token was ours and has run out.
        TokenExpired = "TOKEN_EXPIRED", false;
        /// The sender may not do that in this channel.
        PermissionDenied = "PERMISSION_DENIED", false;
        /// No channel has this name, or none was named.
        ChannelNotFound = "CHANNEL_NOT_FOUND", false;
        /// Too many messages; try again after `retry_after`.
        RateLimitExceeded = "RATE_LIMIT_EXCEEDED", true;
        /// Too many connections or subscriptions.
        ConnectionLimitExceeded = "CONNECTION_LIMIT_EXCEEDED", true;
        /// The operation id was used before with another payload.
        IdReused = "ID_REUSED", false;
        /// A queue between shards is full, or a store is behind.
        Overloaded = "OVERLOADED", true;
        /// The store cannot write at the moment; nothing was sequenced.
        StoreUnavailable = "STORE_UNAVAILABLE", true;
        /// The sender has not joined this channel.
        NotAMember = "NOT_A_MEMBER", false;
        /// Nobody answered in time.
        DeadlineExceeded = "DEADLINE_EXCEEDED", true;
        /// Our fault.
        ServerError = "SERVER_ERROR", true;
    }
}

impl ErrorCode {
    /// How long to wait before the same is tried again, where that does not depend on who tries.
    #[must_use]
    pub const fn retry_after_ms(self) -> Option<u64> {
        match self {
            Self::Overloaded | Self::StoreUnavailable => Some(OVERLOADED_RETRY_MS),
            _ => None,
        }
    }
}

/// Why a WebSocket connection ends, as the close frame says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

/// What a client should do after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterClose {
    /// Not come back by itself.
    Stop,
    /// Connect again with jitter and resume.
    Reconnect,
    /// Connect again, later and later.
    BackOff,
    /// Get a new token first.
    RenewToken,
}

impl CloseCode {
    /// Asked for.
    pub const NORMAL: Self = Self(1000);
    /// The server shuts down.
    pub const GOING_AWAY: Self = Self(1001);
    /// A violation of RFC 6455.
    pub const PROTOCOL: Self = Self(1002);
    /// Binary data on a text endpoint.
    pub const UNSUPPORTED: Self = Self(1003);
    /// The socket ended without a close frame. Never sent (RFC 6455 section 7.4.1): only records have it.
    pub const ABNORMAL: Self = Self(1006);
    /// Text that is not UTF-8.
    pub const INVALID_UTF8: Self = Self(1007);
    /// Ten invalid messages in a row from a known client.
    pub const POLICY: Self = Self(1008);
    /// Message over the limit.
    pub const TOO_LARGE: Self = Self(1009);
    /// Our fault.
    pub const INTERNAL: Self = Self(1011);
    /// The server restarts.
    pub const RESTART: Self = Self(1012);
    /// Malformed or late authentication.
    pub const BAD_AUTH: Self = Self(4000);
    /// Token bad or expired.
    pub const TOKEN: Self = Self(4001);
    /// Another user's resource.
    pub const WRONG_USER: Self = Self(4003);
    /// A connection limit.
    pub const LIMIT: Self = Self(4008);
    /// A newer connection of the same user took this one's place.
    pub const REPLACED: Self = Self(4009);
    /// Nothing was heard for too long.
    pub const IDLE: Self = Self(4010);
    /// The client does not read what it asked for.
    pub const SLOW: Self = Self(4013);
    /// The client goes on sending over its rate.
    pub const FLOODING: Self = Self(4029);

    /// Every code that this server sends, with what a client should do.
    pub const TABLE: &'static [(Self, AfterClose)] = &[
        (Self::NORMAL, AfterClose::Stop),
        (Self::GOING_AWAY, AfterClose::Reconnect),
        (Self::PROTOCOL, AfterClose::Stop),
        (Self::UNSUPPORTED, AfterClose::Stop),
        (Self::INVALID_UTF8, AfterClose::Stop),
        (Self::POLICY, AfterClose::Stop),
        (Self::TOO_LARGE, AfterClose::Stop),
        (Self::INTERNAL, AfterClose::BackOff),
        (Self::RESTART, AfterClose::Reconnect),
        (Self::BAD_AUTH, AfterClose::Stop),
        (Self::TOKEN, AfterClose::RenewToken),
        (Self::WRONG_USER, AfterClose::Stop),
        (Self::LIMIT, AfterClose::BackOff),
        (Self::REPLACED, AfterClose::Stop),
        (Self::IDLE, AfterClose::Reconnect),
        (Self::SLOW, AfterClose::Reconnect),
        (Self::FLOODING, AfterClose::BackOff),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_numbers_are_unique() {
        let names: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        let numbers: HashSet<_> = CloseCode::TABLE.iter().map(|(code, _)| code).collect();
        assert_eq!(numbers.len(), CloseCode::TABLE.len());
    }

    #[test]
    fn close_codes_are_ones_that_an_endpoint_may_send() {
        // RFC 6455 section 7.4: 1004 to 1006 and 1015 are never put on the wire, 4000 to 4999 are private.
        for (CloseCode(number), _) in CloseCode::TABLE {
            assert!(matches!(number, 1000..=1003 | 1007..=1012 | 4000..=4999), "{number}");
        }
    }
}
