//! The body of a request: JSON of a length that is told before.

use std::io;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use glommio::net::TcpStream;

use super::refusal::Refusal;
use super::within;
use crate::limits::{ADMIN_BODY_BYTES_MAX, ADMIN_BODY_DEADLINE_MS};
use crate::wire::http::{Body, Request};

/// What is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announced {
    bytes: usize,
    /// Whether the client waits to be told to send it.
    waits: bool,
}

/// Judges a head that announces a body.
fn announced(request: &Request) -> Result<Announced, Refusal> {
    let bytes = match request.body()? {
        // RFC 9110 section 15.5.12: who does not say the length may say it and try again.
        Body::Chunked => return Err(Refusal::http(411, "a body is taken with a Content-Length only")),
        Body::None if request.headers.get("content-length").is_none() => {
            return Err(Refusal::http(411, "a body with a Content-Length is required"));
        }
        Body::None => 0,
        Body::Bytes(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
    };
    if bytes > ADMIN_BODY_BYTES_MAX {
        return Err(Refusal::http(413, "a body may have 1048576 bytes"));
    }
    let media_type = request.header("content-type").and_then(|value| value.split(';').next()).unwrap_or("");
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(Refusal::http(415, "the Content-Type must be application/json"));
    }
    let waits = match request.header("expect") {
        None if request.headers.contains_key("expect") => return Err(EXPECTATION),
        None => false,
        Some(expected) if expected.eq_ignore_ascii_case("100-continue") => true,
        Some(_) => return Err(EXPECTATION),
    };
    Ok(Announced { bytes, waits })
}

/// RFC 9110 section 10.1.1: an expectation that is not known may be answered with 417.
const EXPECTATION: Refusal = Refusal::http(417, "the only expectation that is met is 100-continue");

/// Reads the body of which `begun` has come with the head.
///
/// # Cancel safety
/// What was read is lost with the future.
pub(super) async fn read(socket: &mut TcpStream, request: &Request, begun: &[u8]) -> Result<Vec<u8>, Refusal> {
    let Announced { bytes, waits } = announced(request)?;
    let mut body = begun.to_vec();
    body.truncate(bytes);
    let read = async {
        // RFC 9110 section 10.1.1: not needed if the body has begun to come.
        if waits && body.is_empty() {
            socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut portion = [0; 2048];
        while body.len() < bytes {
            let wanted = portion.len().min(bytes - body.len());
            match socket.read(&mut portion[..wanted]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => body.extend_from_slice(&portion[..count]),
            }
        }
        Ok(())
    };
    let late = Refusal::http(408, "the body has not come in time");
    within(ADMIN_BODY_DEADLINE_MS, read).await.ok_or(late)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::read_head;

    fn check(lines: &str, expected: Result<Announced, u16>) {
        let head = format!("POST /api/publish HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let (request, _) = read_head(head.as_bytes()).unwrap().unwrap();
        assert_eq!(announced(&request).map_err(|refusal| refusal.status), expected, "{lines}");
    }

    #[test]
    fn a_body_is_json_of_a_known_length() {
        const JSON: &str = "Content-Type: application/json\r\n";
        check(&format!("{JSON}Content-Length: 5\r\n"), Ok(Announced { bytes: 5, waits: false }));
        check(&format!("{JSON}Content-Length: 0\r\n"), Ok(Announced { bytes: 0, waits: false }));
        check(JSON, Err(411));
        check(&format!("{JSON}Transfer-Encoding: chunked\r\n"), Err(411));
        for (bytes, expected) in [
            (ADMIN_BODY_BYTES_MAX - 1, Ok(Announced { bytes: ADMIN_BODY_BYTES_MAX - 1, waits: false })),
            (ADMIN_BODY_BYTES_MAX, Ok(Announced { bytes: ADMIN_BODY_BYTES_MAX, waits: false })),
            (ADMIN_BODY_BYTES_MAX + 1, Err(413)),
            (usize::MAX, Err(413)),
        ] {
            check(&format!("{JSON}Content-Length: {bytes}\r\n"), expected);
        }
        check("Content-Length: 5\r\n", Err(415));
        check("Content-Type: text/plain\r\nContent-Length: 5\r\n", Err(415));
        check(
            "Content-Type: Application/JSON; charset=utf-8\r\nContent-Length: 5\r\n",
            Ok(Announced { bytes: 5, waits: false }),
        );
        check(&format!("{JSON}Content-Length: 5\r\nExpect: 100-Continue\r\n"), Ok(Announced { bytes: 5, waits: true }));
        check(&format!("{JSON}Content-Length: 5\r\nExpect: tea\r\n"), Err(417));
    }
}
