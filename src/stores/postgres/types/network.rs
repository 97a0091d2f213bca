//! Network addresses as their canonical text (`network_out`, `macaddr_out`).

use super::decoder::{Broken, Decoder, Written};
use super::text::show;
use crate::pgtype::PgType;

/// `PGSQL_AF_INET` of `utils/inet.h`.
const FAMILY_V4: u8 = 2;
/// `PGSQL_AF_INET6`.
const FAMILY_V6: u8 = 3;

pub(super) fn inet(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Written::boxed(rows, |bytes, text| write_address(bytes, Netmask::UnlessWhole, text))
}

pub(super) fn cidr(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Written::boxed(rows, |bytes, text| write_address(bytes, Netmask::Always, text))
}

/// `macaddr` (6 bytes) and `macaddr8` (8 bytes).
pub(super) fn macaddr(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Written::boxed(rows, |bytes, text| {
        if !matches!(bytes.len(), 6 | 8) {
            return Err(Broken::malformed());
        }
        for (place, byte) in bytes.iter().enumerate() {
            show(text, format_args!("{}{byte:02x}", if place == 0 { "" } else { ":" }));
        }
        Ok(())
    })
}

/// Whether the number of network bits is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Netmask {
    /// `inet`: a whole address has none.
    UnlessWhole,
    /// `cidr`
    Always,
}

/// `network_send`: family, bits, a flag for `cidr`, the number of address bytes, the address.
fn write_address(bytes: &[u8], netmask: Netmask, text: &mut String) -> Result<(), Broken> {
    let [family, bits, _, len, address @ ..] = bytes else { return Err(Broken::malformed()) };
    if usize::from(*len) != address.len() {
        return Err(Broken::malformed());
    }
    let whole = match (*family, address) {
        (FAMILY_V4, [a, b, c, d]) => {
            show(text, format_args!("{a}.{b}.{c}.{d}"));
            32
        }
        (FAMILY_V6, address) => {
            let address: [u8; 16] = address.try_into().map_err(|_cause| Broken::malformed())?;
            write_v6(address, text);
            128
        }
        _ => return Err(Broken::malformed()),
    };
    if netmask == Netmask::Always || *bits != whole {
        show(text, format_args!("/{bits}"));
    }
    Ok(())
}

/// The rules of `inet_net_ntop_ipv6` (PostgreSQL `src/port/inet_net_ntop.c`): the first longest run of two or more zero
/// words becomes `::`, and the last two words of an address in `::/96` or `::ffff:0:0/96` are shown as IPv4.
fn write_v6(address: [u8; 16], text: &mut String) {
    let words: Vec<u16> =
        address.chunks_exact(2).map(|pair| pair.iter().fold(0, |word, byte| word << 8 | u16::from(*byte))).collect();
    let (run_start, run_len) = longest_zero_run(&words);
    let mapped = run_start == 0 && (run_len == 6 || (run_len == 5 && words.get(5) == Some(&0xffff)));
    for (place, word) in words.iter().enumerate() {
        if run_len > 0 && (run_start..run_start + run_len).contains(&place) {
            text.push_str(if place == run_start { ":" } else { "" });
            continue;
        }
        text.push_str(if place == 0 { "" } else { ":" });
        if mapped && place == 6 {
            let [.., a, b, c, d] = address;
            show(text, format_args!("{a}.{b}.{c}.{d}"));
            return;
        }
        show(text, format_args!("{word:x}"));
    }
    if run_len > 0 && run_start + run_len == words.len() {
        text.push(':');
    }
}

/// Start and length of the first longest run of at least two zero words; length 0 when there is none.
fn longest_zero_run(words: &[u16]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut current = (0, 0);
    for (place, word) in words.iter().enumerate() {
        if *word != 0 {
            current = (place + 1, 0);
            continue;
        }
        current.1 += 1;
        if current.1 > best.1 && current.1 >= 2 {
            best = current;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v6(address: &str, bits: u8, netmask: Netmask) -> String {
        let mut bytes = vec![FAMILY_V6, bits, 0, 16];
        bytes.extend(address.parse::<std::net::Ipv6Addr>().unwrap().octets());
        let mut text = String::new();
        write_address(&bytes, netmask, &mut text).unwrap();
        text
    }

    #[test]
    fn addresses_are_shown_as_postgres_shows_them() {
        let rows = [
            ("::", 128, "::"),
            ("::1", 128, "::1"),
            ("1::", 128, "1::"),
            ("1:0:0:2:0:0:0:3", 128, "1:0:0:2::3"),
            ("1:0:0:2:3:0:0:4", 128, "1::2:3:0:0:4"),
            ("1:0:2:3:4:5:6:7", 128, "1:0:2:3:4:5:6:7"),
            ("::ffff:1.2.3.4", 128, "::ffff:1.2.3.4"),
            ("::1.2.3.4", 96, "::1.2.3.4/96"),
            ("2001:db8::", 32, "2001:db8::/32"),
        ];
        for (address, bits, expected) in rows {
            assert_eq!(v6(address, bits, Netmask::UnlessWhole), expected);
        }
        assert_eq!(v6("::1", 128, Netmask::Always), "::1/128");
        let mut text = String::new();
        write_address(&[FAMILY_V4, 24, 0, 4, 10, 0, 0, 1], Netmask::UnlessWhole, &mut text).unwrap();
        assert_eq!(text, "10.0.0.1/24");
        assert!(write_address(&[FAMILY_V4, 24, 0, 4, 10, 0, 0], Netmask::Always, &mut text).is_err());
    }
}
