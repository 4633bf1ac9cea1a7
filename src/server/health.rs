//! `health`: asks the gateway of a configuration whether it is ready, as a container's health check does.
//!
//! It asks where the configuration says that the gateway listens, and with a header of the PROXY protocol where the
//! gateway expects one. Absent: anything but yes or no; `/metrics` says more.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{Serve, StartError};
use crate::limits::{HEALTH_ANSWER_BYTES_MAX, HEALTH_DEADLINE_MS};
use crate::runtime::address::Address;
use crate::wire::peer::Peer;

/// Asks on the first address; what it answered, if that is not that it is ready.
pub(super) fn ask(wanted: &Serve) -> Result<(), StartError> {
    let Some(address) = wanted.listen.first() else { return Ok(()) };
    let unwell = |what: String| {
        let remedy = "see the log of the gateway; ask where it listens, with its --config or its --listen";
        Err(StartError::new(what, address.to_string(), remedy).passing())
    };
    let answer = match address {
        Address::Tcp(at) if at.port() == 0 => return unwell("port 0 is a free one: nobody knows which".to_owned()),
        Address::Tcp(at) => {
            let near = reachable(*at);
            let expects = wanted.proxies.expect_header(Peer::Ip(near.ip()));
            TcpStream::connect_timeout(&near, DEADLINE).and_then(|stream| {
                stream.set_read_timeout(Some(DEADLINE))?;
                exchange(stream, expects)
            })
        }
        Address::Unix(path) => connect_within(path, DEADLINE).and_then(|stream| {
            stream.set_read_timeout(Some(DEADLINE))?;
            exchange(stream, wanted.proxies.expect_header(Peer::Unix))
        }),
    };
    match answer {
        Ok(status) if status.split(' ').nth(1) == Some("200") => Ok(()),
        Ok(status) => unwell(format!("the gateway is not ready: {status}")),
        Err(error) => unwell(format!("the gateway does not answer: {error}")),
    }
}

/// A connection to a Unix socket, which also bounds its writes. The kernel would wait as long as the queue of a gateway
/// that accepts nobody is full: for ever, if it hangs.
fn connect_within(path: &Path, deadline: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(deadline))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(OwnedFd::from(socket).into())
}

/// Asks, and gives the line with the status.
fn exchange(mut stream: impl Read + Write, expects_header: bool) -> io::Result<String> {
    let header = if expects_header { "PROXY UNKNOWN\r\n" } else { "" };
    stream.write_all(format!("{header}GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 512];
    // The line is in the first packet; what comes in more of them is cut at the bound.
    while !answer.contains(&b'\n') && answer.len() < HEALTH_ANSWER_BYTES_MAX {
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).trim_end().to_owned())
}

/// An address that a client on this machine can use: an unspecified one is reached by loopback.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    // The scope of a link-local address stays with it.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        _ => {}
    }
    address
}

const DEADLINE: Duration = Duration::from_millis(HEALTH_DEADLINE_MS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_asked_by_loopback() {
        for (listening, near) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("[fe80::1%2]:80", "[fe80::1%2]:80"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()).to_string(), near);
        }
    }

    #[test]
    fn an_answer_without_an_end_is_read_to_its_bound() {
        for (bytes, whole) in
            [(HEALTH_ANSWER_BYTES_MAX - 1, false), (HEALTH_ANSWER_BYTES_MAX, true), (HEALTH_ANSWER_BYTES_MAX + 1, true)]
        {
            let (near, mut far) = UnixStream::pair().unwrap();
            far.write_all(&vec![b'x'; bytes]).unwrap();
            far.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(exchange(near, false).is_ok(), whole, "{bytes}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it measures how long a real socket is waited for")]
    fn a_gateway_that_accepts_nobody_is_not_waited_for_beyond_the_deadline() {
        let path = std::env::temp_dir().join(format!("waystation-health-{}.sock", std::process::id()));
        let _absent = std::fs::remove_file(&path);
        let address = SockAddr::unix(&path).unwrap();
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        let began = std::time::Instant::now();
        let deadline = Duration::from_millis(200);
        let (good, error): (Vec<_>, Vec<_>) = (0..2).map(|_| connect_within(&path, deadline)).partition(Result::is_ok);
        assert_eq!((good.len(), error.len()), (1, 1), "the queue holds one");
        assert!(began.elapsed() >= deadline && began.elapsed() < DEADLINE, "{:?}", began.elapsed());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn who_expects_a_proxys_header_is_asked_with_one() {
        for (expects, begins) in [(true, "PROXY UNKNOWN\r\nGET /readyz "), (false, "GET /readyz ")] {
            let (near, mut far) = UnixStream::pair().unwrap();
            far.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
            assert_eq!(exchange(near, expects).unwrap(), "HTTP/1.1 200 OK");
            let mut asked = String::new();
            far.read_to_string(&mut asked).unwrap();
            assert!(asked.starts_with(begins), "{asked}");
        }
    }
}
