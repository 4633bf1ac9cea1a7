//! Why a request is refused, as RFC 9457 problem JSON with a code of ours where there is one.

use serde::Serialize;

use crate::code::ErrorCode;
use crate::shard::text_of;
use crate::wire::http::{HttpError, Response};

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: ErrorCode,
    /// What is wrong, in one sentence without a full stop.
    pub(super) detail: &'static str,
    /// What may be done at this path instead.
    pub(super) allow: Option<&'static str>,
}

impl Refusal {
    pub(super) const UNAUTHORIZED: Self =
        Self { status: 401, code: ErrorCode::AuthFailed, detail: HttpError::UNAUTHORIZED.reason, allow: None };
    pub(super) const FORBIDDEN: Self =
        Self { status: 403, code: ErrorCode::PermissionDenied, detail: HttpError::FORBIDDEN.reason, allow: None };
    pub(super) const NOT_FOUND: Self =
        Self { status: 404, code: ErrorCode::ChannelNotFound, detail: HttpError::NOT_FOUND.reason, allow: None };

    /// What was sent is not as it should be.
    pub(super) const fn malformed(detail: &'static str) -> Self {
        Self { status: 400, code: ErrorCode::InvalidMessageFormat, detail, allow: None }
    }

    /// A refusal that HTTP itself calls for.
    pub(super) const fn http(status: u16, detail: &'static str) -> Self {
        Self { status, code: ErrorCode::InvalidMessageFormat, detail, allow: None }
    }

    /// The method is none of these.
    pub(super) const fn method(allow: &'static str) -> Self {
        let detail = "this method is not allowed here";
        Self { status: 405, code: ErrorCode::InvalidMessageFormat, detail, allow: Some(allow) }
    }

    pub(super) fn response(&self) -> Response {
        let problem = Problem {
            kind: "about:blank",
            title: crate::wire::http::phrase(self.status),
            status: self.status,
            detail: self.detail,
            code: self.code.name(),
            retryable: self.code.retryable(),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let response = HttpError::new(self.status, self.detail).response().body("application/problem+json", body);
        match self.allow {
            // RFC 9110 section 15.5.6: a 405 lists what is allowed.
            Some(allow) => response.header("Allow", allow),
            None => response,
        }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        let status = match code {
            ErrorCode::AuthFailed | ErrorCode::TokenExpired => 401,
            ErrorCode::PermissionDenied | ErrorCode::NotAMember => 403,
            ErrorCode::ChannelNotFound => 404,
            ErrorCode::IdReused => 409,
            ErrorCode::MessageTooLarge => 413,
            ErrorCode::RateLimitExceeded => 429,
            ErrorCode::Overloaded | ErrorCode::StoreUnavailable | ErrorCode::ConnectionLimitExceeded => 503,
            ErrorCode::DeadlineExceeded => 504,
            ErrorCode::ServerError => 500,
            _ => 400,
        };
        Self { status, code, detail: text_of(code), allow: None }
    }
}

impl From<HttpError> for Refusal {
    fn from(error: HttpError) -> Self {
        Self::http(error.status, error.reason)
    }
}

/// The members of RFC 9457 section 3.1 that are in use, and ours.
#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    code: &'static str,
    retryable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_and_its_headers() {
        for (code, status, line) in [
            (ErrorCode::InvalidMessageFormat, 400, "Connection: close"),
            (ErrorCode::AuthFailed, 401, "WWW-Authenticate: Bearer"),
            (ErrorCode::PermissionDenied, 403, "Connection: close"),
            (ErrorCode::ChannelNotFound, 404, "Connection: close"),
            (ErrorCode::IdReused, 409, "Connection: close"),
            (ErrorCode::MessageTooLarge, 413, "Connection: close"),
            (ErrorCode::RateLimitExceeded, 429, "Retry-After: "),
            (ErrorCode::ServerError, 500, "Connection: close"),
            (ErrorCode::Overloaded, 503, "Retry-After: "),
            (ErrorCode::StoreUnavailable, 503, "Retry-After: "),
            (ErrorCode::DeadlineExceeded, 504, "Connection: close"),
        ] {
            let text = String::from_utf8(Refusal::from(code).response().encode(false)).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && head.contains(line), "{head}");
            assert!(head.contains("\r\nContent-Type: application/problem+json\r\n"));
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!((&body["status"], &body["code"]), (&status.into(), &code.name().into()));
        }
        let text = String::from_utf8(Refusal::method("POST").response().encode(true)).unwrap();
        assert!(text.starts_with("HTTP/1.1 405 ") && text.contains("\r\nAllow: POST\r\n"));
    }
}
