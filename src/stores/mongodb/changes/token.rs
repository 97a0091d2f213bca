//! Tokens of change streams: what is kept of them to go on from, and the time that is in them.

use mongodb::bson::raw::RawDocument;
use mongodb::bson::{Document, RawBsonRef, Timestamp, doc};
use mongodb::change_stream::event::ResumeToken;
use serde::{Deserialize, Serialize};

use super::event::get;
use super::survey::Place;
use super::{before, number, of_number};
use crate::stores::capture::Ended;
use crate::stores::change::Resume;

/// Where to go on, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) token: ResumeToken,
    /// The time of the last transaction: seconds, and the counter within the second.
    pub(super) time: i64,
    pub(super) increment: i64,
    pub(super) identity: String,
}

impl Kept {
    /// The time of the last transaction.
    pub(super) fn at(&self) -> Timestamp {
        let part = |number: i64| u32::try_from(number).unwrap_or(0);
        Timestamp { time: part(self.time), increment: part(self.increment) }
    }
}

/// The token of an event, read alone: elsewhere in an event may be texts that are no UTF-8, which a server keeps.
pub(super) fn token_of(event: &RawDocument) -> Option<ResumeToken> {
    #[derive(Deserialize)]
    struct Tokened {
        #[serde(rename = "_id")]
        token: ResumeToken,
    }
    let token: Document = get(event, "_id").and_then(RawBsonRef::as_document)?.try_into().ok()?;
    let alone = doc! { "_id": token }.to_vec().ok()?;
    mongodb::bson::deserialize_from_slice::<Tokened>(&alone).ok().map(|tokened| tokened.token)
}

/// Where a feed went on, if that is a place in this deployment.
pub(super) fn kept(resume: &Resume, place: &Place) -> Result<Kept, Ended> {
    let lost = |reason: &str| Ended::Lost(reason.to_owned());
    let kept: Kept = mongodb::bson::deserialize_from_slice(&resume.0)
        .map_err(|_broken| lost("where to go on is not a place in the changes of a deployment"))?;
    if !place.may_be(&kept.identity) {
        return Err(lost("the deployment is another one"));
    }
    if place.written.is_some_and(|written| number(written) < number(kept.at())) {
        return Err(lost("the deployment is in an older state than it was"));
    }
    Ok(kept)
}

/// The time in a token: a letter that says that it is one, and eight bytes, as hexadecimal digits. Other forms of tokens tell nothing.
pub(super) fn time_of(token: &ResumeToken) -> Option<Timestamp> {
    #[derive(Serialize)]
    struct Of<'a> {
        token: &'a ResumeToken,
    }
    let document = mongodb::bson::serialize_to_document(&Of { token }).ok()?;
    time_in(document.get_document("token").ok()?.get_str("_data").ok()?)
}

fn time_in(text: &str) -> Option<Timestamp> {
    let digits = text.strip_prefix("82")?.get(..16)?;
    u64::from_str_radix(digits, 16).ok().map(of_number)
}

/// Up to where everything was given, when the server has nothing more and says `time` of the place where it is. It names the last write
/// that it has looked at, whose events came before, if there were any; but for a stream that it has just opened, the time with which that
/// was, and where there are several shards one that another shard may still write at.
pub(super) fn looked_at(time: Timestamp, opened: Option<Timestamp>, is_sharded: bool) -> Timestamp {
    let is_of_write = opened.is_some_and(|opened| number(time) > number(opened));
    if is_of_write && !is_sharded { time } else { before(time) }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::raw::RawDocumentBuf;

    use super::*;

    fn token(event: &Document) -> ResumeToken {
        token_of(&RawDocumentBuf::from_bytes(event.to_vec().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn the_token_of_an_event_is_read_beside_a_text_that_is_none() {
        let mut bytes = doc! { "_id": { "_data": "8201" }, "fullDocument": { "a": "broken" } }.to_vec().unwrap();
        let place = bytes.windows(6).position(|part| part == b"broken").unwrap();
        bytes[place] = 0xff;
        let event = RawDocumentBuf::from_bytes(bytes).unwrap();
        assert_eq!(token_of(&event), Some(token(&doc! { "_id": { "_data": "8201" } })));
        assert_eq!(token_of(&RawDocumentBuf::from_bytes(doc! { "_id": 1 }.to_vec().unwrap()).unwrap()), None);
    }

    #[test]
    fn tokens_tell_their_time_where_they_can() {
        let time = Timestamp { time: 0x6512_3456, increment: 3 };
        assert_eq!(time_in("826512345600000003002B0229296E04"), Some(time));
        for text in ["", "82", "8265123456000000", "816512345600000003", "82zz12345600000003"] {
            assert_eq!(time_in(text), None, "{text}");
        }
        // As it stands in an event and is kept.
        let event = doc! { "_id": { "_data": "826512345600000003002B" }, "operationType": "insert" };
        let token = token(&event);
        assert_eq!(time_of(&token), Some(time));
        let kept = Kept { token: token.clone(), time: i64::from(u32::MAX), increment: 9, identity: "id:x".to_owned() };
        let bytes = mongodb::bson::serialize_to_vec(&kept).unwrap();
        let read: Kept = mongodb::bson::deserialize_from_slice(&bytes).unwrap();
        assert_eq!((read.at().time, read.at().increment, &read.token), (u32::MAX, 9, &token));
    }

    #[test]
    fn a_write_is_behind_a_stream_once_the_server_has_looked_at_it() {
        let time = |increment| Timestamp { time: 7, increment };
        assert_eq!(looked_at(time(5), Some(time(4)), false), time(5));
        for (opened, is_sharded) in [(Some(time(5)), false), (Some(time(9)), false), (None, false), (Some(time(4)), true)] {
            assert_eq!(looked_at(time(5), opened, is_sharded), time(4), "{opened:?} {is_sharded}");
        }
    }

    #[test]
    fn another_deployment_is_not_gone_on_with() {
        let event = doc! { "_id": { "_data": "82" } };
        let token = token(&event);
        let bytes = |identity: &str| {
            let kept = Kept { token: token.clone(), time: 7, increment: 0, identity: identity.to_owned() };
            Resume(mongodb::bson::serialize_to_vec(&kept).unwrap())
        };
        let place = |written| Place { identity: "id:x".to_owned(), written, kept: None };
        let at = |time| Some(Timestamp { time, increment: 0 });
        assert!(kept(&bytes("id:x"), &place(None)).is_ok() && kept(&bytes("id:x"), &place(at(7))).is_ok());
        // What could not be asked before, or now, says nothing.
        assert!(kept(&bytes("name:rs"), &place(None)).is_ok());
        for lost in [
            kept(&bytes("id:y"), &place(None)),
            kept(&bytes("id:x"), &place(at(6))),
            kept(&Resume(vec![1]), &place(None)),
            kept(&Resume::default(), &place(None)),
        ] {
            assert!(matches!(lost, Err(Ended::Lost(_))), "{lost:?}");
        }
    }
}
