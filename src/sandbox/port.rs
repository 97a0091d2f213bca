//! Ports for servers that are killed and started again.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use rand::Rng as _;

/// The first port that is tried; those below it are of well-known servers.
const FIRST: u16 = 10_240;
/// Where Linux begins with the ports that it gives to connections, if nobody has set anything else.
const GIVEN: u16 = 32_768;
/// Fewer ports than that are not worth choosing among.
const ROOM: usize = 1_000;
/// How many are tried.
const TRIES: usize = 100;

/// A port of the loopback interface that was free a moment ago, and is not one that the system gives to connections. While a server is
/// away no connection of anybody can have it, not even one that asks for that very port and would reach itself.
///
/// # Errors
/// No port can be had.
pub fn free_port() -> io::Result<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let ports = never_given(&text);
    let tries = if ports.len() < ROOM { 0 } else { TRIES };
    for _ in 0..tries {
        let port = rand::rng().random_range(ports.clone());
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).map(|address| address.port())
}

/// Ports below those that are given to connections, which `ip_local_port_range` names (ip(7)).
fn never_given(text: &str) -> Range<u16> {
    let given = text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(GIVEN);
    FIRST..given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_below_those_of_connections() {
        assert_eq!(never_given("32768\t60999\n"), FIRST..32_768);
        assert_eq!(never_given("20000 30000"), FIRST..20_000);
        assert_eq!(never_given(""), FIRST..GIVEN);
        assert!(never_given("1024 65535").is_empty());
        let port = free_port().unwrap();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }
}
