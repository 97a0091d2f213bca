//! `tributary.token`: what the reads of a session must contain, as a text that another session takes, also one of another instance.
//!
//! ```text
//! base64url( one byte, the version | JSON )      {"p":{"shop":["base64url of a position",…],…}}
//! ```
//!
//! Whatever the version is, JSON is behind it, and what has none is no token. Members of the JSON that are not known here are left: a later
//! release that adds some which may be left keeps the version. Positions stay as their connectors have written them. Those of a store that is
//! not configured here are kept and wait for nobody; one that its store did not make is covered by nothing: a read asks the store where it is,
//! and requires that in its place.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::error::{Diagnosis, sqlstate};
use crate::session::settings::TOKEN;
use crate::stores::StoreName;
use crate::stores::position::Position;

/// Most bytes of a token.
pub const BYTES_MAX: usize = 64 << 10;
/// Most positions of one store: more than any session tells of.
const POSITIONS_MAX: usize = 64;
/// Most stores of a token.
pub const STORES_MAX: usize = 256;
/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;

/// What is carried: positions by store.
pub type Positions = BTreeMap<StoreName, Vec<Position>>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Body {
    /// Positions by store, each in base64url.
    #[serde(rename = "p", default)]
    positions: BTreeMap<String, Vec<String>>,
}

/// The token of positions. One without any is a token too: taking it changes nothing, while an empty text would forget everything.
///
/// # Errors
/// 54000 when it would be longer than a token may be.
pub fn encode(positions: &Positions) -> Result<String, Diagnosis> {
    let texts = |of: &Vec<Position>| of.iter().map(|position| URL_SAFE_NO_PAD.encode(&position.token)).collect();
    let body = Body { positions: positions.iter().map(|(store, of)| (store.as_str().to_owned(), texts(of))).collect() };
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, &body).map_err(|error| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.to_string()))?;
    let text = URL_SAFE_NO_PAD.encode(&bytes);
    if text.len() > BYTES_MAX || positions.len() > STORES_MAX {
        return Err(too_long());
    }
    Ok(text)
}

/// The positions of a token. The text itself is in no error.
///
/// # Errors
/// 22023 for what is no token, or one of a later version; 54000 for one that is too long.
pub fn decode(text: &str) -> Result<Positions, Diagnosis> {
    let text = text.trim();
    if text.len() > BYTES_MAX {
        return Err(too_long());
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_error| malformed("It is not base64url."))?;
    let json = match bytes.split_first() {
        Some((&VERSION, json)) => json,
        Some((version, json)) if *version > VERSION && serde_json::from_slice::<IgnoredAny>(json).is_ok() => {
            return Err(malformed("It has a version that this release does not read.").with_hint("Update this instance."));
        }
        Some(_) => return Err(malformed(&format!("It is no token. SHOW {TOKEN} prints one."))),
        None => return Err(malformed("It is empty.")),
    };
    // The words of the parser may repeat a part of the text.
    let body: Body = serde_json::from_slice(json).map_err(|_error| malformed("It holds no positions."))?;
    if body.positions.len() > STORES_MAX || body.positions.values().any(|texts| texts.len() > POSITIONS_MAX) {
        return Err(too_long());
    }
    body.positions.into_iter().map(|(store, texts)| positions_of(&StoreName::new(&store), &texts)).collect()
}

/// Those of one store in a token.
fn positions_of(store: &StoreName, texts: &[String]) -> Result<(StoreName, Vec<Position>), Diagnosis> {
    let position = |text: &String| {
        let token = URL_SAFE_NO_PAD.decode(text).map_err(|_error| malformed("A position of it is not base64url."))?;
        Ok(Position { store: store.clone(), token })
    };
    Ok((store.clone(), texts.iter().map(position).collect::<Result<_, Diagnosis>>()?))
}

/// What both hold.
///
/// # Errors
/// 54000 when that would make too long a token: a session is not made to keep more.
pub fn union(mut known: Positions, given: &Positions) -> Result<Positions, Diagnosis> {
    for (store, positions) in given {
        let kept = known.entry(store.clone()).or_default();
        for position in positions {
            if !kept.contains(position) {
                kept.push(position.clone());
            }
        }
    }
    encode(&known).map(|_text| known)
}

fn malformed(why: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{TOKEN}\"")).with_detail(why)
}

fn too_long() -> Diagnosis {
    let message = format!("a token may have at most {BYTES_MAX} bytes and {STORES_MAX} stores");
    Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).with_hint(format!("SET {TOKEN} = '' forgets what was taken."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(of: &[(&str, &[&[u8]])]) -> Positions {
        let position = |store: &StoreName, token: &&[u8]| Position { store: store.clone(), token: token.to_vec() };
        let entry = |(name, tokens): &(&str, &[&[u8]])| {
            let store = StoreName::new(name);
            let of = tokens.iter().map(|token| position(&store, token)).collect();
            (store, of)
        };
        of.iter().map(entry).collect()
    }

    fn code(text: &str) -> Result<usize, String> {
        decode(text).map(|positions| positions.len()).map_err(|error| error.sqlstate)
    }

    fn written(version: u8, json: &str) -> String {
        URL_SAFE_NO_PAD.encode([&[version][..], json.as_bytes()].concat())
    }

    #[test]
    fn what_is_carried_arrives_as_it_was() {
        for sent in [
            positions(&[]),
            positions(&[("shop", &[b"0/16B3748"])]),
            positions(&[("shop", &[b"\x00\xff", b""]), ("Crew \"2\"", &[b"{}"]), ("none", &[])]),
        ] {
            let text = encode(&sent).unwrap();
            assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
            assert_eq!(decode(&text).unwrap(), sent);
            assert_eq!(decode(&format!(" {text}\n")).unwrap(), sent);
        }
    }

    #[test]
    fn the_text_stays_the_same_over_releases() {
        let text = written(1, r#"{"p":{"shop":["YWI"]}}"#);
        assert_eq!(text, "AXsicCI6eyJzaG9wIjpbIllXSSJdfX0");
        let sent = positions(&[("shop", &[b"ab"])]);
        assert_eq!((encode(&sent).unwrap(), decode(&text).unwrap()), (text, sent.clone()));
        // What a later release adds is left, and what it changes is refused.
        assert_eq!(decode(&written(1, r#"{"at":7,"p":{"shop":["YWI"]}}"#)).unwrap(), sent);
        assert_eq!(code(&written(2, r#"{"p":{"shop":["YWI"]}}"#)), Err("22023".to_owned()));
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_repeated() {
        let refused = Err("22023".to_owned());
        let texts = ["=", "AX+/", "geheim geheim", "", "(SHOW tributary.token)"].map(str::to_owned);
        let bodies = ["", "geheim", r#"{"p":["geheim"]}"#, r#"{"p":{"shop":["geheim?"]}}"#];
        let all = texts.into_iter().chain(bodies.map(|json| written(1, json))).chain([written(0, "{}")]);
        for text in all {
            assert_eq!(code(&text), refused, "{text}");
            let told = decode(&text).unwrap_err();
            assert!(!format!("{told:?}").contains("geheim"), "{told:?}");
        }
        assert_eq!(code(&written(1, "{}")), Ok(0));
    }

    #[test]
    fn only_a_token_of_a_later_version_asks_for_an_update() {
        let told = |text: &str| {
            let refused = decode(text).unwrap_err();
            (refused.detail.unwrap_or_default().contains("version"), refused.hint)
        };
        let update = Some("Update this instance.".to_owned());
        assert_eq!(told(&written(2, r#"{"p":{"shop":["YWI"]}}"#)), (true, update));
        let others = [written(0, "{}"), written(2, "{"), written(2, ""), "abc".to_owned(), "geheim".to_owned()];
        for text in &others {
            assert_eq!(told(text), (false, None), "{text}");
        }
    }

    #[test]
    fn tokens_are_bounded() {
        assert_eq!(code(&"A".repeat(BYTES_MAX + 1)), Err("54000".to_owned()));
        let many: Vec<String> = (0..=STORES_MAX).map(|number| format!("s{number}")).collect();
        let many: Positions = many.iter().map(|name| (StoreName::new(name), Vec::new())).collect();
        assert_eq!(encode(&many).unwrap_err().sqlstate, "54000");
        let body = Body { positions: many.keys().map(|store| (store.to_string(), Vec::new())).collect() };
        assert_eq!(code(&written(1, &serde_json::to_string(&body).unwrap())), Err("54000".to_owned()));
        let half = vec![7_u8; BYTES_MAX / 8 * 3];
        let (one, other) = (positions(&[("a", &[&half])]), positions(&[("b", &[&half])]));
        assert!(encode(&one).is_ok());
        assert_eq!(union(one.clone(), &other).unwrap_err().sqlstate, "54000");
        assert_eq!(union(one.clone(), &one).unwrap(), one, "what is there already takes no room");
    }

    #[test]
    fn a_second_token_takes_nothing_away() {
        let one = positions(&[("shop", &[b"1"]), ("crew", &[b"x"])]);
        let other = positions(&[("shop", &[b"2", b"1"]), ("pets", &[b"p"])]);
        let expected = positions(&[("shop", &[b"1", b"2"]), ("crew", &[b"x"]), ("pets", &[b"p"])]);
        assert_eq!(union(one, &other).unwrap(), expected);
    }
}
