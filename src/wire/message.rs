//! Frontend messages, decoded strictly: lengths are checked before anything is read, text must be UTF-8, and a body must
//! end where its length says.
//!
//! `pgwire` decodes bodies without such checks (a short body panics or eats the next message, bad UTF-8 is replaced), so
//! its structs serve for what we send, not for what we receive.

use bytes::{Buf, Bytes, BytesMut};

use super::error::protocol_violation;
use crate::error::{Diagnosis, Limit, sqlstate};
use crate::format::fault::invalid_utf8;

/// Bytes of type and length in front of a body.
const HEADER: usize = 5;
/// Longest message of the kinds that hold no statement and no values (`PQ_SMALL_MESSAGE_LIMIT`).
const SMALL_MESSAGE_MAX: usize = 10_000;

/// One message of an authenticated client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Query(String),
    Parse(Parse),
    Bind(Bind),
    Describe(Target),
    Execute(Execute),
    Close(Target),
    Flush,
    Sync,
    FunctionCall,
    /// A part of the rows of a COPY. While no COPY runs it is ignored, as the two that follow are: the COPY has failed before.
    CopyData(Bytes),
    CopyDone,
    /// The client cannot go on, for this reason.
    CopyFail(String),
    Terminate,
    /// The message was understood but for its text; the statement fails, the connection goes on.
    Refused(Refused),
}

/// A message whose text is not valid, and how to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) message: String,
    /// Whether it was part of the extended protocol, so that messages are skipped until `Sync`.
    pub(super) extended: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parse {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) parameter_types: Vec<u32>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    pub(super) parameter_formats: Vec<i16>,
    pub(super) parameters: Vec<Option<Bytes>>,
    pub(super) result_formats: Vec<i16>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Execute {
    pub(super) portal: String,
    pub(super) max_rows: i32,
}

/// What `Describe` and `Close` name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Statement(String),
    Portal(String),
}

/// What is wrong with a body.
enum Fault {
    /// The connection cannot go on.
    Fatal(Diagnosis),
    /// Only the text is bad.
    Text(String),
}

/// Takes one whole message off the front of `buffer`; `None` when more bytes are needed.
///
/// # Errors
/// Unknown type, impossible length, or a body that does not fit its type: the connection cannot go on.
pub(super) fn next_message(buffer: &mut BytesMut, message_max: usize) -> Result<Option<Message>, Diagnosis> {
    let Some(length) = announced(buffer, message_max)? else { return Ok(None) };
    if buffer.len() < length {
        return Ok(None);
    }
    let mut frame = buffer.split_to(length).freeze();
    let kind = frame.get_u8();
    frame.advance(HEADER - 1);
    decode(kind, frame).map(Some)
}

/// The length of the message at the front with its header, checked against the bound of its kind; `None` when the header is
/// not whole yet.
pub(super) fn announced(buffer: &[u8], message_max: usize) -> Result<Option<usize>, Diagnosis> {
    let Some(&kind) = buffer.first() else { return Ok(None) };
    let bound = match kind {
        b'Q' | b'P' | b'B' | b'F' | b'd' => message_max,
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' => SMALL_MESSAGE_MAX.min(message_max),
        other => return Err(protocol_violation(format!("invalid frontend message type {other}"))),
    };
    let Some(length) = buffer.get(1..HEADER).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()) else { return Ok(None) };
    let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| *length >= HEADER - 1);
    match length {
        None => Err(protocol_violation("invalid message length")),
        Some(length) if length > bound => Err(Diagnosis::new(
            sqlstate::PROGRAM_LIMIT_EXCEEDED,
            format!("message of {length} bytes is longer than the limit of {bound} bytes"),
        )
        .at(Limit::Message)),
        Some(length) => Ok(Some(length + 1)),
    }
}

fn decode(kind: u8, body: Bytes) -> Result<Message, Diagnosis> {
    let mut body = Body { rest: body };
    let decoded = body.message(kind).and_then(|message| body.end().map(|()| message));
    match decoded {
        Ok(message) => Ok(message),
        Err(Fault::Text(message)) => Ok(Message::Refused(Refused { message, extended: kind != b'Q' && kind != b'F' })),
        Err(Fault::Fatal(diagnosis)) => Err(diagnosis),
    }
}

struct Body {
    rest: Bytes,
}

impl Body {
    fn message(&mut self, kind: u8) -> Result<Message, Fault> {
        Ok(match kind {
            b'Q' => Message::Query(self.text()?),
            b'P' => Message::Parse(self.parse()?),
            b'B' => Message::Bind(self.bind()?),
            b'D' => Message::Describe(self.target()?),
            b'E' => Message::Execute(Execute { portal: self.text()?, max_rows: self.i32()? }),
            b'C' => Message::Close(self.target()?),
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => Message::Terminate,
            b'F' => {
                self.rest.clear();
                Message::FunctionCall
            }
            b'd' => Message::CopyData(self.rest.split_off(0)),
            b'f' => Message::CopyFail(self.reason()),
            _ => {
                self.rest.clear();
                Message::CopyDone
            }
        })
    }

    /// A text that is only shown: whatever it is, the message means the same.
    fn reason(&mut self) -> String {
        let bytes = self.rest.split_off(0);
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    fn parse(&mut self) -> Result<Parse, Fault> {
        let name = self.text()?;
        let text = self.text()?;
        let count = self.u16()?;
        let parameter_types = (0..count).map(|_| self.i32().map(i32::cast_unsigned)).collect::<Result<_, _>>()?;
        Ok(Parse { name, text, parameter_types })
    }

    fn bind(&mut self) -> Result<Bind, Fault> {
        let portal = self.text()?;
        let statement = self.text()?;
        let parameter_formats = self.formats()?;
        let count = self.u16()?;
        let parameters = (0..count).map(|_| self.parameter()).collect::<Result<_, _>>()?;
        let result_formats = self.formats()?;
        Ok(Bind { portal, statement, parameter_formats, parameters, result_formats })
    }

    fn formats(&mut self) -> Result<Vec<i16>, Fault> {
        let count = self.u16()?;
        (0..count).map(|_| self.u16().map(u16::cast_signed)).collect()
    }

    fn parameter(&mut self) -> Result<Option<Bytes>, Fault> {
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(Some(self.rest.split_to(length))),
            _ => Err(short()),
        }
    }

    fn target(&mut self) -> Result<Target, Fault> {
        let [kind] = self.array()?;
        let name = self.text()?;
        match kind {
            b'S' => Ok(Target::Statement(name)),
            b'P' => Ok(Target::Portal(name)),
            other => Err(Fault::Fatal(protocol_violation(format!("invalid message subtype {other}")))),
        }
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Fault> {
        self.array().map(i32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let bytes = self.rest.get(..N).and_then(|bytes| <[u8; N]>::try_from(bytes).ok()).ok_or_else(short)?;
        self.rest.advance(N);
        Ok(bytes)
    }

    /// A text that ends with NUL.
    fn text(&mut self) -> Result<String, Fault> {
        let length = self
            .rest
            .iter()
            .position(|byte| *byte == 0)
            .ok_or_else(|| Fault::Fatal(protocol_violation("invalid string in message")))?;
        let bytes = self.rest.split_to(length);
        self.rest.advance(1);
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(Fault::Text(invalid_utf8(&bytes, error.valid_up_to()))),
        }
    }

    fn end(&self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::Fatal(protocol_violation("invalid message format"))) }
    }
}

fn short() -> Fault {
    Fault::Fatal(protocol_violation("insufficient data left in message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(kind: u8, body: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        buffer.extend_from_slice(&[kind]);
        buffer.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        buffer.extend_from_slice(body);
        buffer
    }

    #[test]
    fn whole_messages_are_decoded_and_taken() {
        let rows: Vec<(u8, &[u8], Message)> = vec![
            (b'Q', b"SELECT 1\0", Message::Query("SELECT 1".to_owned())),
            (
                b'P',
                b"s\0SELECT $1\0\0\x01\0\0\0\x17",
                Message::Parse(Parse { name: "s".to_owned(), text: "SELECT $1".to_owned(), parameter_types: vec![23] }),
            ),
            (
                b'B',
                b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01",
                Message::Bind(Bind {
                    portal: "p".to_owned(),
                    statement: "s".to_owned(),
                    parameter_formats: vec![1],
                    parameters: vec![Some(Bytes::from_static(b"ab")), None],
                    result_formats: vec![1],
                }),
            ),
            (b'D', b"Sx\0", Message::Describe(Target::Statement("x".to_owned()))),
            (b'C', b"P\0", Message::Close(Target::Portal(String::new()))),
            (b'E', b"\0\x7f\xff\xff\xff", Message::Execute(Execute { portal: String::new(), max_rows: i32::MAX })),
            (b'S', b"", Message::Sync),
            (b'H', b"", Message::Flush),
            (b'X', b"", Message::Terminate),
            (b'd', b"anything", Message::CopyData(Bytes::from_static(b"anything"))),
            (b'd', b"", Message::CopyData(Bytes::new())),
            (b'c', b"", Message::CopyDone),
            (b'f', b"it broke\0", Message::CopyFail("it broke".to_owned())),
            (b'f', b"\xff", Message::CopyFail("\u{fffd}".to_owned())),
            (b'F', b"\0\0\0\x01whatever", Message::FunctionCall),
        ];
        for (kind, body, expected) in rows {
            let mut buffer = framed(kind, body);
            buffer.extend_from_slice(b"next");
            assert_eq!(next_message(&mut buffer, 1 << 20).unwrap(), Some(expected), "{}", char::from(kind));
            assert_eq!(&buffer[..], b"next");
        }
    }

    #[test]
    fn any_cut_of_a_message_waits_for_more() {
        let whole = framed(b'B', b"p\0s\0\0\0\0\x01\0\0\0\x02ab\0\0");
        for length in 0..whole.len() {
            let mut buffer = BytesMut::from(&whole[..length]);
            assert_eq!(next_message(&mut buffer, 1 << 20).unwrap(), None, "{length}");
            assert_eq!(buffer.len(), length);
        }
    }

    #[test]
    fn bodies_that_lie_are_refused_and_never_read_into_the_next_message() {
        let rows: &[(u8, &[u8], &str)] = &[
            (b'Q', b"no end", "invalid string in message"),
            (b'Q', b"a\0b", "invalid message format"),
            (b'P', b"\0\0\xff\xff", "insufficient data left in message"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff", "insufficient data left in message"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe", "insufficient data left in message"),
            (b'B', b"\0\0\xff\xff", "insufficient data left in message"),
            (b'E', b"\0\0\0", "insufficient data left in message"),
            (b'D', b"Zx\0", "invalid message subtype 90"),
            (b'S', b"x", "invalid message format"),
            (b'p', b"secret\0", "invalid frontend message type 112"),
            (b'!', b"", "invalid frontend message type 33"),
        ];
        for (kind, body, expected) in rows {
            let mut buffer = framed(*kind, body);
            buffer.extend_from_slice(&[0; 64]);
            let refused = next_message(&mut buffer, 1 << 20).unwrap_err();
            assert_eq!((refused.sqlstate.as_str(), refused.message.as_str()), ("08P01", *expected));
        }
    }

    #[test]
    fn lengths_are_bounded_before_the_body_arrives() {
        let rows: &[(&[u8], &str)] = &[
            (b"Q\x7f\xff\xff\xff", "54000"),
            (b"Q\0\0\x04\x01", "54000"),
            (b"E\0\0\x27\x11", "54000"),
            (b"Q\0\0\0\x03", "08P01"),
            (b"Q\xff\xff\xff\xff", "08P01"),
        ];
        for (bytes, expected) in rows {
            let bound = if bytes[0] == b'E' { 1 << 20 } else { 1024 };
            assert_eq!(announced(bytes, bound).unwrap_err().sqlstate, *expected, "{bytes:?}");
        }
        assert_eq!(announced(b"Q\0\0\x04\0", 1024).unwrap(), Some(1025));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_not_replaced() {
        let rows: &[(u8, &[u8], bool, &str)] = &[
            (b'Q', b"SELECT '\xff'\0", false, "0xff"),
            (b'Q', b"SELECT '\xf5'\0", false, "0xf5 0x27"),
            (b'P', b"\0\xe2\x28\xa1\0\0\0", true, "0xe2 0x28 0xa1"),
            (b'B', b"\x80\0\0\0\0\0\0\0\0", true, "0x80"),
        ];
        for (kind, body, extended, bytes) in rows {
            let message = format!("invalid byte sequence for encoding \"UTF8\": {bytes}");
            let decoded = next_message(&mut framed(*kind, body), 1 << 20).unwrap();
            assert_eq!(decoded, Some(Message::Refused(Refused { message, extended: *extended })));
        }
    }

    /// Every byte of valid messages replaced by every other: whatever comes out, nothing panics and nothing is
    /// taken beyond the announced length.
    #[test]
    fn damaged_messages_never_reach_beyond_themselves() {
        let valid = [
            framed(b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"),
            framed(b'B', b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01"),
            framed(b'E', b"p\0\0\0\0\x01"),
            framed(b'D', b"Sx\0"),
            framed(b'Q', b"SELECT 1\0"),
        ];
        for message in &valid {
            for place in 0..message.len() {
                for byte in 0..=u8::MAX {
                    let mut damaged = message.clone();
                    damaged[place] = byte;
                    damaged.extend_from_slice(b"TAIL");
                    let length = announced(&damaged, 1 << 20).ok().flatten();
                    let whole = damaged.len();
                    if let Ok(Some(_)) = next_message(&mut damaged, 1 << 20) {
                        assert_eq!(whole - damaged.len(), length.unwrap());
                    }
                }
            }
        }
    }
}
