//! A client that sends any bytes it likes and shows what comes back, message by message.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long enough for a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A raw connection.
pub struct Client<S = TcpStream> {
    pub stream: S,
}

/// One message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub kind: char,
    pub body: Vec<u8>,
}

impl Answer {
    /// A field of an `ErrorResponse` or `NoticeResponse`.
    pub fn field(&self, wanted: u8) -> Option<String> {
        assert!(matches!(self.kind, 'E' | 'N'), "{self:?} has no fields");
        self.body
            .split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&wanted))
            .map(|field| String::from_utf8(field[1..].to_vec()).unwrap())
    }

    /// Severity and code of an error.
    pub fn error(&self) -> (String, String) {
        assert_eq!(self.kind, 'E', "{self:?}");
        (self.field(b'S').unwrap(), self.field(b'C').unwrap())
    }

    /// Kind, and the part of the body that a script compares.
    pub fn shown(&self) -> String {
        match self.kind {
            'E' => format!("E {} {}", self.field(b'S').unwrap(), self.field(b'C').unwrap()),
            'N' => format!("N {} {}", self.field(b'S').unwrap(), self.field(b'C').unwrap()),
            'C' => format!("C {}", String::from_utf8_lossy(self.body.strip_suffix(b"\0").unwrap())),
            'Z' => format!("Z {}", char::from(self.body[0])),
            'D' => format!("D {}", self.values().join("|")),
            'T' => format!("T {}", self.columns().join("|")),
            't' => format!("t {}", self.parameter_oids()),
            'd' => format!("d {}", self.body.escape_ascii()),
            'A' => format!("A {}", self.notification()),
            kind => kind.to_string(),
        }
    }

    /// Channel and payload.
    fn notification(&self) -> String {
        let texts: Vec<String> =
            self.body[4..].split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect();
        texts.join(" ").trim_end().to_owned()
    }

    fn values(&self) -> Vec<String> {
        let mut rest = &self.body[2..];
        let mut values = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            match usize::try_from(i32::from_be_bytes(*length)) {
                Ok(length) => {
                    values.push(String::from_utf8_lossy(&after[..length]).into_owned());
                    rest = &after[length..];
                }
                Err(_) => {
                    values.push("NULL".to_owned());
                    rest = after;
                }
            }
        }
        values
    }

    fn columns(&self) -> Vec<String> {
        let mut rest = &self.body[2..];
        let mut columns = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == 0).unwrap();
            let name = String::from_utf8_lossy(&rest[..end]).into_owned();
            let fixed = &rest[end + 1..end + 19];
            let oid = u32::from_be_bytes(fixed[6..10].try_into().unwrap());
            let format = i16::from_be_bytes(fixed[16..18].try_into().unwrap());
            columns.push(format!("{name}:{oid}:{format}"));
            rest = &rest[end + 19..];
        }
        columns
    }

    fn parameter_oids(&self) -> String {
        let oids = self.body[2..].chunks_exact(4).map(|oid| u32::from_be_bytes(oid.try_into().unwrap()).to_string());
        oids.collect::<Vec<_>>().join(",")
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap() }
    }

    /// Connects and starts as `user` where `trust` applies, up to `ReadyForQuery`.
    pub async fn trusted(address: SocketAddr, user: &str) -> Self {
        let mut client = Self::connect(address).await;
        client.start(user).await;
        client.until_ready().await;
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends a startup packet for protocol 3.0.
    pub async fn start(&mut self, user: &str) {
        self.send(&startup(0, &[("user", user), ("database", super::server::DATABASE)])).await;
    }

    /// The next message; `None` at the end of the stream, however it came.
    pub async fn answer(&mut self) -> Option<Answer> {
        let reading = async {
            let kind = self.stream.read_u8().await.ok()?;
            let length = self.stream.read_u32().await.ok()?;
            let mut body = vec![0; usize::try_from(length).ok()?.checked_sub(4)?];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(Answer { kind: char::from(kind), body })
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the server did not answer")
    }

    /// Messages up to and with `ReadyForQuery`, or to the end of the stream.
    pub async fn until_ready(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.answer().await {
            let last = answer.kind == 'Z';
            answers.push(answer);
            if last {
                break;
            }
        }
        answers
    }

    /// Sends `bytes` and shows everything up to `ReadyForQuery`, joined by newlines.
    pub async fn script(&mut self, bytes: &[u8]) -> String {
        self.send(bytes).await;
        self.until_ready().await.iter().map(Answer::shown).collect::<Vec<_>>().join("\n")
    }

    /// Asserts that the next message is a FATAL error with `code` and that nothing follows it.
    pub async fn refused(&mut self, code: &str) {
        let answer = self.answer().await.expect("the connection ended without a word");
        assert_eq!(answer.error(), ("FATAL".to_owned(), code.to_owned()), "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(self.answer().await, None);
    }

    /// SCRAM-SHA-256 up to and with the server's answer to the proof.
    pub async fn scram(&mut self, password: &str) -> Answer {
        let offered = self.answer().await.unwrap();
        assert_eq!((offered.kind, &offered.body[..4]), ('R', [0, 0, 0, 10].as_slice()));
        let bare = "n=,r=clientnonce";
        self.send(&initial_response("SCRAM-SHA-256", &format!("n,,{bare}"))).await;
        let server_first = self.answer().await.unwrap();
        assert_eq!((server_first.kind, &server_first.body[..4]), ('R', [0, 0, 0, 11].as_slice()));
        let server_first = String::from_utf8(server_first.body[4..].to_vec()).unwrap();
        let proof = prove(password, bare, &server_first);
        self.send(&message(b'p', proof.as_bytes())).await;
        self.answer().await.unwrap()
    }
}

/// Salt and iterations of a server-first message.
pub fn salt_of(server_first: &str) -> (Vec<u8>, u32) {
    let mut parts = server_first.split(',').skip(1);
    let salt = STANDARD.decode(parts.next().unwrap().strip_prefix("s=").unwrap()).unwrap();
    (salt, parts.next().unwrap().strip_prefix("i=").unwrap().parse().unwrap())
}

fn prove(password: &str, bare: &str, server_first: &str) -> String {
    let nonce = server_first.split(',').next().unwrap();
    assert!(nonce.starts_with("r=clientnonce"));
    let (salt, iterations) = salt_of(server_first);
    let keys = super::server::Keys::derive(password, &salt, iterations);
    let without_proof = format!("c={},{nonce}", STANDARD.encode("n,,"));
    let signature = super::server::hmac(&keys.stored, format!("{bare},{server_first},{without_proof}").as_bytes());
    let proof: Vec<u8> = keys.client.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    format!("{without_proof},p={}", STANDARD.encode(proof))
}

/// A message with its type and length.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

/// A startup packet.
pub fn startup(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = [3_u16.to_be_bytes(), minor.to_be_bytes()].concat();
    for (name, value) in parameters {
        body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    body.push(0);
    packet(&body)
}

/// A packet without type.
pub fn packet(body: &[u8]) -> Vec<u8> {
    [u32::try_from(body.len() + 4).unwrap().to_be_bytes().as_slice(), body].concat()
}

/// `SSLRequest`
pub fn ssl_request() -> Vec<u8> {
    packet(&80_877_103_u32.to_be_bytes())
}

/// `GSSENCRequest`
pub fn gss_request() -> Vec<u8> {
    packet(&80_877_104_u32.to_be_bytes())
}

/// `CancelRequest`
pub fn cancel_request(process_id: i32, key: &[u8]) -> Vec<u8> {
    packet(&[&80_877_102_u32.to_be_bytes(), process_id.to_be_bytes().as_slice(), key].concat())
}

/// `SASLInitialResponse`
pub fn initial_response(mechanism: &str, first: &str) -> Vec<u8> {
    let length = u32::try_from(first.len()).unwrap().to_be_bytes();
    message(b'p', &[mechanism.as_bytes(), b"\0", &length, first.as_bytes()].concat())
}

/// `Query`
pub fn query(text: &str) -> Vec<u8> {
    message(b'Q', format!("{text}\0").as_bytes())
}

/// `Parse`
pub fn parse(name: &str, text: &str, parameter_types: &[u32]) -> Vec<u8> {
    let mut body = format!("{name}\0{text}\0").into_bytes();
    body.extend_from_slice(&u16::try_from(parameter_types.len()).unwrap().to_be_bytes());
    for oid in parameter_types {
        body.extend_from_slice(&oid.to_be_bytes());
    }
    message(b'P', &body)
}

/// `Bind` with parameters as text.
pub fn bind(portal: &str, statement: &str, parameters: &[Option<&[u8]>], result_formats: &[i16]) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0\0\0").into_bytes();
    body.extend_from_slice(&u16::try_from(parameters.len()).unwrap().to_be_bytes());
    for parameter in parameters {
        let length = parameter.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap());
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(parameter.unwrap_or_default());
    }
    body.extend_from_slice(&u16::try_from(result_formats.len()).unwrap().to_be_bytes());
    for format in result_formats {
        body.extend_from_slice(&format.to_be_bytes());
    }
    message(b'B', &body)
}

/// `Describe` of a statement (`S`) or portal (`P`).
pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

/// `Execute`
pub fn execute(portal: &str, max_rows: i32) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0", &max_rows.to_be_bytes()].concat())
}

/// `Sync`
pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}
