//! `inet`, `cidr`, `macaddr` and `macaddr8`: canonical text and binary forms (manual §8.9).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::BufMut;

use super::{bytea, fault};
use crate::error::{Diagnosis, sqlstate};

const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;

/// A host or network address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
    /// `cidr`: always shown with its prefix, no bits set behind it.
    is_cidr: bool,
}

fn full_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl Network {
    /// Reads `inet` text.
    ///
    /// # Errors
    /// 22P02.
    pub fn read_inet(text: &str) -> Result<Self, Diagnosis> {
        Self::parse(text, false).ok_or_else(|| fault::invalid("inet", text))
    }

    /// Reads `cidr` text; missing octets are zero and give the prefix length.
    ///
    /// # Errors
    /// 22P02.
    pub fn read_cidr(text: &str) -> Result<Self, Diagnosis> {
        let network = Self::parse(text, true).ok_or_else(|| fault::invalid("cidr", text))?;
        if network.has_host_bits() {
            let error = Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, format!("invalid cidr value: \"{text}\""));
            return Err(error.with_detail("Value has bits set to right of mask."));
        }
        Ok(network)
    }

    fn parse(text: &str, is_cidr: bool) -> Option<Self> {
        let (host, prefix) = match text.split_once('/') {
            Some((host, prefix)) => (host, Some(prefix)),
            None => (text, None),
        };
        let (address, implied) = match host.parse::<IpAddr>() {
            Ok(address) => (address, full_bits(address)),
            Err(_) if is_cidr => short_v4(host)?,
            Err(_) => return None,
        };
        let bits = match prefix {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None => implied,
        };
        (bits <= full_bits(address)).then_some(Self { address, bits, is_cidr })
    }

    /// The address without its prefix length.
    pub fn host(&self) -> String {
        let full = Self { bits: full_bits(self.address), is_cidr: false, ..*self };
        let mut text = Vec::new();
        full.write(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The length of its prefix.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether it is of IPv4.
    pub fn is_v4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// The network it is in: no bits set behind the prefix.
    pub fn network(&self) -> Self {
        let behind = |width: u8| u32::from(width.saturating_sub(self.bits));
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(behind(32)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(address) & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(behind(128)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask))
            }
        };
        Self { address, bits: self.bits, is_cidr: true }
    }

    fn has_host_bits(&self) -> bool {
        let value = match self.address {
            IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
            IpAddr::V6(address) => u128::from(address),
        };
        value.checked_shl(u32::from(self.bits)).is_some_and(|rest| rest != 0)
    }

    /// Writes canonical text.
    pub fn write(&self, out: &mut impl BufMut) {
        match self.address {
            IpAddr::V4(address) => out.put_slice(address.to_string().as_bytes()),
            IpAddr::V6(address) => write_v6(address, out),
        }
        if self.is_cidr || self.bits != full_bits(self.address) {
            out.put_u8(b'/');
            out.put_slice(itoa::Buffer::new().format(self.bits).as_bytes());
        }
    }

    /// Writes family, prefix length, whether it is a `cidr`, address length and address.
    pub fn write_binary(&self, out: &mut impl BufMut) {
        let is_cidr = u8::from(self.is_cidr);
        match self.address {
            IpAddr::V4(address) => {
                out.put_slice(&[FAMILY_V4, self.bits, is_cidr, 4]);
                out.put_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                out.put_slice(&[FAMILY_V6, self.bits, is_cidr, 16]);
                out.put_slice(&address.octets());
            }
        }
    }

    /// Reads the binary form as `inet`, or as `cidr`.
    ///
    /// # Errors
    /// 22P03.
    pub fn read_binary(bytes: &[u8], is_cidr: bool) -> Result<Self, Diagnosis> {
        let type_name = if is_cidr { "cidr" } else { "inet" };
        let parse = || {
            let (&[family, bits, _, length], address) = bytes.split_first_chunk::<4>()?;
            let address = match (family, length) {
                (FAMILY_V4, 4) => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
                (FAMILY_V6, 16) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
                _ => return None,
            };
            let network = Self { address, bits, is_cidr };
            (bits <= full_bits(address) && !(is_cidr && network.has_host_bits())).then_some(network)
        };
        parse().ok_or_else(|| fault::binary(type_name))
    }
}

/// `10.1` as 10.1.0.0/16: one to three octets of a network.
fn short_v4(host: &str) -> Option<(IpAddr, u8)> {
    let mut octets = [0u8; 4];
    let mut slots = octets.iter_mut();
    let mut bits = 0;
    for part in host.split('.') {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *slots.next()? = part.parse().ok()?;
        bits += 8;
    }
    Some((IpAddr::V4(Ipv4Addr::from(octets)), bits))
}

/// Like `Ipv6Addr`'s own text, but with dotted octets for IPv4-compatible addresses too, as PostgreSQL prints them.
fn write_v6(address: Ipv6Addr, out: &mut impl BufMut) {
    let [a, b, c, d, e, f, g, h] = address.segments();
    if [a, b, c, d, e, f] == [0; 6] && g != 0 {
        let [g0, g1] = g.to_be_bytes();
        let [h0, h1] = h.to_be_bytes();
        out.put_slice(format!("::{}", Ipv4Addr::new(g0, g1, h0, h1)).as_bytes());
        return;
    }
    out.put_slice(address.to_string().as_bytes());
}

/// Reads a MAC address of `N` bytes: pairs, triples or quads of digits with one kind of mark between, or none. Six bytes
/// given for eight are widened with `ff:fe` in the middle.
///
/// # Errors
/// 22P02.
pub fn read_mac<const N: usize>(type_name: &str, text: &str) -> Result<[u8; N], Diagnosis> {
    parse_mac(fault::trim(text)).ok_or_else(|| fault::invalid(type_name, text))
}

fn parse_mac<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mark = text.chars().find(|c| !c.is_ascii_hexdigit());
    let groups: Vec<&str> = match mark {
        Some(mark @ (':' | '-' | '.')) => text.split(mark).collect(),
        Some(_) => return None,
        None => vec![text],
    };
    let size = groups.first()?.len();
    if size % 2 != 0 && mark.is_none() || groups.iter().any(|group| group.len() != size) || size == 0 {
        return None;
    }
    let digits: Vec<u8> = groups.concat().bytes().map(bytea::hex_value).collect::<Option<_>>()?;
    let mut bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit)).collect();
    if N == 8 && bytes.len() == 6 {
        bytes.splice(3..3, [0xff, 0xfe]);
    }
    if digits.len().is_multiple_of(2) { bytes.try_into().ok() } else { None }
}

/// Writes `08:00:2b:01:02:03`.
pub fn write_mac(bytes: &[u8], out: &mut impl BufMut) {
    for (place, byte) in bytes.iter().enumerate() {
        if place > 0 {
            out.put_u8(b':');
        }
        bytea::write_hex(&[*byte], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(network: Network) -> String {
        let mut binary = Vec::new();
        network.write_binary(&mut binary);
        assert_eq!(Network::read_binary(&binary, network.is_cidr).unwrap(), network);
        let mut out = Vec::new();
        network.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn addresses_are_canonical() {
        for (input, expected) in [
            ("192.168.1.5", "192.168.1.5"),
            ("192.168.1.5/24", "192.168.1.5/24"),
            ("192.168.1.5/32", "192.168.1.5"),
            ("::1", "::1"),
            ("2001:0DB8::1/64", "2001:db8::1/64"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
            ("::1.2.3.4", "::1.2.3.4"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
        ] {
            assert_eq!(shown(Network::read_inet(input).unwrap()), expected, "{input}");
        }
        for (input, expected) in
            [("10/8", "10.0.0.0/8"), ("10.1", "10.1.0.0/16"), ("192.168.100.128/25", "192.168.100.128/25"), ("::/0", "::/0")]
        {
            assert_eq!(shown(Network::read_cidr(input).unwrap()), expected, "{input}");
        }
        for input in ["", "1.2.3", "1.2.3.256", "1.2.3.4/33", "1.2.3.4/", "::g", "1.2.3.4/-1"] {
            assert_eq!(Network::read_inet(input).unwrap_err().sqlstate, "22P02", "{input}");
        }
        assert_eq!(Network::read_cidr("192.168.1.5/24").unwrap_err().message, "invalid cidr value: \"192.168.1.5/24\"");
        for bytes in [&[][..], &[2, 32, 0, 4, 1, 2, 3], &[2, 33, 0, 4, 1, 2, 3, 4], &[4, 32, 0, 4, 1, 2, 3, 4]] {
            assert_eq!(Network::read_binary(bytes, false).unwrap_err().sqlstate, "22P03");
        }
    }

    #[test]
    fn mac_addresses_are_canonical() {
        for input in ["08:00:2b:01:02:03", "08-00-2b-01-02-03", "08002b:010203", "0800.2b01.0203", "08002B010203"] {
            let mut out = Vec::new();
            write_mac(&read_mac::<6>("macaddr", input).unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), "08:00:2b:01:02:03");
            assert_eq!(read_mac::<8>("macaddr8", input).unwrap(), [8, 0, 0x2b, 0xff, 0xfe, 1, 2, 3]);
        }
        for input in ["", "08:00:2b:01:02", "08:00:2b:01:02:0g", "08:00-2b:01:02:03", "08002b01020"] {
            assert_eq!(read_mac::<6>("macaddr", input).unwrap_err().sqlstate, "22P02", "{input}");
        }
    }
}
