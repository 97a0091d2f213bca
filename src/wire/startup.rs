//! The first packets of a connection: TLS and GSS requests, cancel requests, the startup packet.
//!
//! Packets are read to their exact length, so nothing that follows a plain `SSLRequest` can be taken for something said
//! inside TLS (the class of CVE-2021-23214).

use std::io;

use pgwire::messages::startup::NegotiateProtocolVersion;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::error::{protocol_violation, without_nul};
use super::writer::Writer;
use crate::error::{Diagnosis, sqlstate};
use crate::format::fault::invalid_utf8;

/// What carries a connection: TCP, or TLS over it.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// A connection before its reading and writing sides part.
pub(super) type Channel = Writer<Box<dyn Socket>>;

/// Why a connection ends before its session begins.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The peer left, or cannot be answered.
    Silent(io::Error),
    /// The peer is told, FATAL.
    Told(Diagnosis),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Silent(error)
    }
}

impl From<Diagnosis> for Refusal {
    fn from(diagnosis: Diagnosis) -> Self {
        Self::Told(diagnosis)
    }
}

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// Longest name of a role or database, in bytes.
const NAME_BYTES_MAX: usize = 63;
/// The newest protocol we speak.
const NEWEST_MINOR: u16 = 2;

/// What a peer may begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Tls,
    Gss,
    Cancel { process_id: i32, key: Vec<u8> },
    Start(Startup),
}

/// A startup packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Startup {
    /// The minor protocol version the peer asked for.
    minor: u16,
    /// `user`
    pub(super) user: String,
    /// `database`, else the user's name.
    pub(super) database: String,
    /// `-c` pairs of `options`, then the other parameters in order.
    pub(super) settings: Vec<(String, String)>,
    /// `_pq_.` options; we know none.
    protocol_options: Vec<String>,
}

impl Startup {
    /// Whether the peer takes cancel keys longer than four bytes.
    pub(super) fn takes_long_key(&self) -> bool {
        self.minor >= 2
    }

    /// What to answer to a peer that asks for more than we speak. Version 3.1 was never given out and passes as 3.0.
    pub(super) fn negotiation(&self) -> Option<NegotiateProtocolVersion> {
        if self.minor <= NEWEST_MINOR && self.protocol_options.is_empty() {
            return None;
        }
        let offered = (3 << 16) | i32::from(self.minor.min(NEWEST_MINOR));
        Some(NegotiateProtocolVersion::new(offered, self.protocol_options.clone()))
    }
}

/// Reads one packet of at most `max` bytes.
///
/// # Errors
/// A length out of bounds, refused before its bytes are read; an unknown protocol; parameters that make no sense.
pub(super) async fn read_request(socket: &mut (impl AsyncRead + Unpin), max: usize) -> Result<Request, Refusal> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if !(8..=max).contains(&length) {
        return Err(protocol_violation("invalid length of startup packet").into());
    }
    // Memory is taken for what has come, not for what is announced.
    let mut packet = Vec::new();
    socket.take(length as u64 - 4).read_to_end(&mut packet).await?;
    if packet.len() < length - 4 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    parse(&packet).map_err(Refusal::Told)
}

fn parse(packet: &[u8]) -> Result<Request, Diagnosis> {
    let Some((code, rest)) = packet.split_first_chunk::<4>() else {
        return Err(protocol_violation("invalid length of startup packet"));
    };
    match u32::from_be_bytes(*code) {
        SSL_REQUEST if rest.is_empty() => Ok(Request::Tls),
        GSS_REQUEST if rest.is_empty() => Ok(Request::Gss),
        CANCEL_REQUEST => match rest.split_first_chunk::<4>() {
            Some((process_id, key)) if (4..=256).contains(&key.len()) => {
                Ok(Request::Cancel { process_id: i32::from_be_bytes(*process_id), key: key.to_vec() })
            }
            _ => Err(protocol_violation("invalid length of cancel request packet")),
        },
        version if version >> 16 == 3 => {
            let minor = u16::try_from(version & 0xffff).unwrap_or(u16::MAX);
            parse_startup(minor, rest).map(Request::Start)
        }
        version => Err(Diagnosis::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            format!("unsupported frontend protocol {}.{}: server supports 3.0 to 3.2", version >> 16, version & 0xffff),
        )),
    }
}

fn parse_startup(minor: u16, packet: &[u8]) -> Result<Startup, Diagnosis> {
    let layout = || protocol_violation("invalid startup packet layout: expected terminator as last byte");
    let body = packet.strip_suffix(b"\0").ok_or_else(layout)?;
    // What is left is a row of texts, each with its own NUL: names and values in turn.
    let body = if body.is_empty() { None } else { Some(body.strip_suffix(b"\0").ok_or_else(layout)?) };
    let texts: Vec<&str> =
        body.map(|body| body.split(|byte| *byte == 0).map(utf8).collect::<Result<_, _>>()).transpose()?.unwrap_or_default();
    if !texts.len().is_multiple_of(2) {
        return Err(layout());
    }
    let mut startup =
        Startup { minor, user: String::new(), database: String::new(), settings: Vec::new(), protocol_options: Vec::new() };
    let mut rest = Vec::new();
    for pair in texts.chunks_exact(2) {
        let [name, value] = pair else { continue };
        match *name {
            "user" => startup.user = cut_name(value).to_owned(),
            "database" => startup.database = cut_name(value).to_owned(),
            "options" => startup.settings.extend(parse_options(value)?),
            "replication" if !matches!(*value, "false" | "off" | "no" | "0") => {
                return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "the replication protocol is not supported"));
            }
            "replication" => {}
            name if name.starts_with("_pq_.") => startup.protocol_options.push(name.to_owned()),
            name => rest.push((name.to_owned(), (*value).to_owned())),
        }
    }
    startup.settings.extend(rest);
    if startup.user.is_empty() {
        return Err(Diagnosis::new(sqlstate::INVALID_AUTHORIZATION, "no user name specified in startup packet"));
    }
    if startup.database.is_empty() {
        startup.database.clone_from(&startup.user);
    }
    Ok(startup)
}

/// PostgreSQL cuts longer names silently, at the end of a character (`NAMEDATALEN`).
fn cut_name(name: &str) -> &str {
    name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or(name)
}

fn utf8(bytes: &[u8]) -> Result<&str, Diagnosis> {
    std::str::from_utf8(bytes)
        .map_err(|error| Diagnosis::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, invalid_utf8(bytes, error.valid_up_to())))
}

/// Reads `-c name=value` and `--name=value`; a backslash keeps the next character, as `pg_split_opts` has it.
fn parse_options(text: &str) -> Result<Vec<(String, String)>, Diagnosis> {
    let mut words = split_options(text).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let assignment = if word == "-c" {
            words.next().ok_or_else(|| bad_option(&word))?
        } else if let Some(long) = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            long.to_owned()
        } else {
            return Err(bad_option(&word));
        };
        let (name, value) = assignment.split_once('=').ok_or_else(|| bad_option(&word))?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn bad_option(word: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("invalid command-line argument for server process: {}", without_nul(word)))
        .with_hint("Use options such as \"-c search_path=shop\".")
}

fn split_options(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            space if space.is_ascii_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(minor: u16, body: &[u8]) -> Vec<u8> {
        [&[0, 3], minor.to_be_bytes().as_slice(), body].concat()
    }

    fn start(body: &[u8]) -> Result<Startup, Diagnosis> {
        match parse(&packet(0, body))? {
            Request::Start(startup) => Ok(startup),
            other => panic!("{other:?}"),
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn parameters_become_user_database_and_settings() {
        let startup = start(b"user\0ann\0application_name\0psql\0options\0-c a.b=1\\ 2 --work-mem=3 -cx=\0\0").unwrap();
        assert_eq!((startup.user.as_str(), startup.database.as_str()), ("ann", "ann"));
        let expected = [("a.b", "1 2"), ("work_mem", "3"), ("x", ""), ("application_name", "psql")];
        assert_eq!(startup.settings, pairs(&expected));
        let startup = start(b"database\0d\0user\0ann\0TimeZone\0\0\0").unwrap();
        assert_eq!(startup.database, "d");
        let long = format!("user\0{}é{}\0\0", "x".repeat(62), "y".repeat(100));
        assert_eq!(start(long.as_bytes()).unwrap().user, "x".repeat(62), "cut where PostgreSQL cuts");
        let startup = start(b"database\0d\0user\0ann\0TimeZone\0\0\0").unwrap();
        assert_eq!(startup.settings, pairs(&[("TimeZone", "")]));
    }

    #[test]
    fn packets_that_make_no_sense_are_refused() {
        let rows: &[(&[u8], &str)] = &[
            (b"user\0ann\0", "08P01"),
            (b"user\0ann", "08P01"),
            (b"user\0\0", "08P01"),
            (b"", "08P01"),
            (b"\0", "28000"),
            (b"database\0x\0\0", "28000"),
            (b"user\0\xff\0\0", "22021"),
            (b"user\0ann\0options\0-z\0\0", "42601"),
            (b"user\0ann\0options\0-c\0\0", "42601"),
            (b"user\0ann\0replication\0database\0\0", "0A000"),
        ];
        for (body, expected) in rows {
            assert_eq!(start(body).unwrap_err().sqlstate, *expected, "{:?}", String::from_utf8_lossy(body));
        }
        assert_eq!(parse(&[0, 2, 0, 0]).unwrap_err().sqlstate, "0A000");
        assert_eq!(parse(&[0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 1]).unwrap_err().sqlstate, "08P01");
        assert_eq!(parse(&[0x04, 0xd2, 0x16, 0x2f]).unwrap(), Request::Tls);
        assert_eq!(parse(&[0x04, 0xd2, 0x16, 0x30]).unwrap(), Request::Gss);
        let cancel = Request::Cancel { process_id: 7, key: vec![1, 2, 3, 4] };
        assert_eq!(parse(&[0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 7, 1, 2, 3, 4]).unwrap(), cancel);
    }

    #[test]
    fn newer_protocols_and_unknown_options_are_negotiated() {
        let answer = |minor: u16, body: &[u8]| {
            let Ok(Request::Start(startup)) = parse(&packet(minor, body)) else { panic!("{minor}") };
            startup.negotiation().map(|answer| (answer.newest_minor_protocol, answer.unsupported_options.join(" ")))
        };
        for minor in 0..=2 {
            assert_eq!(answer(minor, b"user\0a\0\0"), None, "{minor}");
        }
        for minor in [3, 9999] {
            assert_eq!(answer(minor, b"user\0a\0\0"), Some((196_610, String::new())), "{minor}");
        }
        let options = b"user\0a\0_pq_.x\0on\0_pq_.y\0\0\0";
        assert_eq!(answer(0, options), Some((196_608, "_pq_.x _pq_.y".to_owned())));
    }

    #[tokio::test]
    async fn a_gigabyte_is_refused_by_its_length_alone() {
        for length in [0x4000_0000_u32, 65_537, 7, 0, u32::MAX] {
            let bytes = length.to_be_bytes();
            let refusal = read_request(&mut bytes.as_slice(), 65_536).await.unwrap_err();
            assert!(matches!(refusal, Refusal::Told(diagnosis) if diagnosis.sqlstate == "08P01"), "{length}");
        }
    }
}
