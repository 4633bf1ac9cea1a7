//! Percent-decoding (RFC 3986 section 2.1) of path segments and query values.
//!
//! Strict: a `%` without two hexadecimal digits, and bytes that are not UTF-8, are refused, never passed
//! through. `+` stays a plus: it occurs in tokens, and only HTML forms mean a space by it.

use crate::limits::RESOURCE_ID_BYTES_MAX;
use crate::wire::response::HttpError;

/// Decodes one segment of a path to the resource id that it names.
///
/// # Errors
/// 400 if the segment is malformed or not a resource id ([`check_resource_id`]).
pub fn decode_segment(raw: &str) -> Result<String, HttpError> {
    let id = decode(raw).ok_or(HttpError::bad_request("the resource id is not percent-encoded UTF-8"))?;
    check_resource_id(&id)?;
    Ok(id)
}

/// The same for a segment that names something longer.
///
/// # Errors
/// 400 unless it decodes to 1 to `bytes_max` bytes without control characters.
pub fn decode_within(raw: &str, bytes_max: usize) -> Result<String, HttpError> {
    let name = decode(raw).ok_or(HttpError::bad_request("a name in the path is not percent-encoded UTF-8"))?;
    if name.is_empty() || name.len() > bytes_max || name.chars().any(char::is_control) {
        return Err(HttpError::bad_request("a name in the path is empty, too long, or holds a control character"));
    }
    Ok(name)
}

/// Checks a decoded resource id, for ids that come in a query.
///
/// # Errors
/// 400 unless it is 1 to [`RESOURCE_ID_BYTES_MAX`] bytes long and free of control characters.
pub fn check_resource_id(id: &str) -> Result<(), HttpError> {
    if id.is_empty() || id.len() > RESOURCE_ID_BYTES_MAX {
        return Err(HttpError::bad_request("the resource id is empty or longer than 128 bytes"));
    }
    if id.chars().any(char::is_control) {
        return Err(HttpError::bad_request("the resource id holds a control character"));
    }
    Ok(())
}

/// The first value of `name` in a query, percent-decoded; `name` without `=` has the empty value.
///
/// # Errors
/// 400 if that value is not percent-encoded UTF-8. Other pairs are not looked at.
pub fn query_value(query: &str, name: &str) -> Result<Option<String>, HttpError> {
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key).is_some_and(|key| key == name) {
            let malformed = HttpError::bad_request("a query value is not percent-encoded UTF-8");
            return decode(value).ok_or(malformed).map(Some);
        }
    }
    Ok(None)
}

/// Whether each `%` is followed by two hexadecimal digits.
pub(super) fn is_well_formed(raw: &str) -> bool {
    raw.split('%').skip(1).all(|after| after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

fn decode(raw: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_becomes_the_id_that_it_names_or_400() {
        let check = |raw: &str, expected: Option<&str>| {
            assert_eq!(decode_segment(raw).ok().as_deref(), expected, "{raw:?}");
        };
        check("abc-1", Some("abc-1"));
        check("a%20b+c", Some("a b+c"));
        check("%e2%82%AC", Some("€"));
        check("a%2Fb", Some("a/b"));
        for raw in
            ["", "%", "%4", "a%4g", "%zz", "%+1", "%ff", "%e2%82", "%c0%af", "%ed%a0%80", "%00", "%0a", "%7f", "%c2%85"]
        {
            check(raw, None);
        }
    }

    #[test]
    fn an_id_may_be_as_long_as_its_bound_counted_in_decoded_bytes() {
        for (len, allowed) in
            [(RESOURCE_ID_BYTES_MAX - 1, true), (RESOURCE_ID_BYTES_MAX, true), (RESOURCE_ID_BYTES_MAX + 1, false)]
        {
            assert_eq!(decode_segment(&"%61".repeat(len)).is_ok(), allowed, "{len}");
        }
    }

    #[test]
    fn the_first_value_of_a_name_counts_and_a_malformed_one_is_an_error() {
        let check = |query: &str, expected: Result<Option<&str>, u16>| {
            let found = query_value(query, "token").map_err(|error| error.status);
            assert_eq!(found.as_ref().map(Option::as_deref).map_err(|status| *status), expected, "{query:?}");
        };
        check("", Ok(None));
        check("a=b&xtoken=1&token2=2", Ok(None));
        check("token=a.b+c%3D&token=other", Ok(Some("a.b+c=")));
        check("%74oken=x", Ok(Some("x")));
        check("token", Ok(Some("")));
        check("bad=%zz&token=x", Ok(Some("x")));
        check("token=%", Err(400));
        check("token=%ff", Err(400));
    }

    #[test]
    fn a_percent_sign_needs_two_digits() {
        for (raw, expected) in [
            ("", true),
            ("/a%20", true),
            ("%2", false),
            ("%", false),
            ("%%20", false),
            ("%2%20", false),
            ("a%gg", false),
        ] {
            assert_eq!(is_well_formed(raw), expected, "{raw:?}");
        }
    }
}
