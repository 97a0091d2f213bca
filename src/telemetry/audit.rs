//! The audit log: who did what, one JSON object a line, in a file that is turned over when it is full.
//!
//! ```text
//! rooms: Event → a bounded queue → one thread → audit.jsonl → audit.jsonl.1 → … → gone
//! ```
//!
//! **Invariants:** an event is one line, whatever a peer put into its name; no password and no value is in it, unless the operator
//! asked for the values of writes; who tells something waits for room in the queue at most a second, and what is lost then is counted
//! and said. A line is on disk when its file is closed; a machine that loses its power may lose the last lines.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use serde_json::{Map, Value};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::log::steers;
use super::metrics::{Count, Family};
use crate::error::{Diagnose, sqlstate};
use crate::task::OwnedTask;

/// Lines that may wait to be written.
const QUEUE: usize = 4096;
/// How long an event waits for room in the queue.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is said that lines are lost.
const COMPLAINT: Duration = Duration::from_secs(60);
/// Longest text of one field, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Longest name of a role, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// What is written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// The file; `None` when nothing is written.
    pub file: Option<PathBuf>,
    /// Whether statements that write are told.
    pub writes: bool,
    /// Whether their texts hold the values that the client sent.
    pub values: bool,
    /// A file that has so many bytes is turned over.
    pub rotate: u64,
    /// How many earlier files are kept.
    pub keep: usize,
}

/// The file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the audit log {} cannot be opened", path.display())]
pub struct AuditError {
    path: PathBuf,
    #[source]
    reason: io::Error,
}

impl Diagnose for AuditError {
    fn sqlstate(&self) -> &str {
        sqlstate::SYSTEM_ERROR
    }

    fn detail(&self) -> Option<String> {
        Some(format!("The reason is: {}.", self.reason))
    }

    fn hint(&self) -> Option<String> {
        Some("Name another file with the key audit.file in tributary.toml, or \"off\".".to_owned())
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event(Map<String, Value>);

impl Event {
    /// Something that happens now; `what` is one word: `login`, `reload`, `write`.
    pub fn new(what: &'static str) -> Self {
        let mut fields = Map::new();
        fields.insert("at".to_owned(), Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true).into());
        fields.insert("event".to_owned(), what.into());
        Self(fields)
    }

    /// Who did it.
    #[must_use]
    pub fn by(self, role: &str) -> Self {
        self.put("role", cut(role, NAME_BYTES_MAX).into())
    }

    /// From where.
    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        self.put("address", address.to_canonical().to_string().into())
    }

    /// In which session.
    #[must_use]
    pub fn process(self, process_id: i32) -> Self {
        self.put("process", process_id.into())
    }

    /// It succeeded.
    #[must_use]
    pub fn done(self) -> Self {
        self.put("outcome", "done".into())
    }

    /// It was refused or failed, with this SQLSTATE.
    #[must_use]
    pub fn failed(self, sqlstate: &str) -> Self {
        self.put("outcome", "failed".into()).put("sqlstate", cut(sqlstate, NAME_BYTES_MAX).into())
    }

    /// Whatever else is to be known. Long texts are cut.
    #[must_use]
    pub fn with(self, key: &'static str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) if text.len() > TEXT_BYTES_MAX => format!("{}…", cut(&text, TEXT_BYTES_MAX)).into(),
            value => value,
        };
        self.put(key, value)
    }

    fn put(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.to_owned(), value);
        self
    }

    /// The line, with its end. Characters that steer a terminal stand in it as escapes, as JSON has them.
    fn line(&self) -> String {
        let text = serde_json::to_string(&self.0).unwrap_or_default();
        let mut line = String::with_capacity(text.len() + 1);
        for character in text.chars() {
            if steers(character) {
                line.push_str(&format!("\\u{:04x}", u32::from(character)));
            } else {
                line.push(character);
            }
        }
        line.push('\n');
        line
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

/// A statement without what may be a value or was meant for people: every literal is `?`, comments are gone. A text that does not fall
/// into words is `?` as a whole.
pub fn masked(sql: &str) -> String {
    let dialect = PostgreSqlDialect {};
    let Ok(tokens) = Tokenizer::new(&dialect, sql).with_unescape(false).tokenize() else { return "?".to_owned() };
    let mut text = String::with_capacity(sql.len());
    for token in &tokens {
        match token {
            // Runs of blanks, lines and comments are one blank.
            Token::Whitespace(_) if text.ends_with(' ') => {}
            Token::Whitespace(_) => text.push(' '),
            Token::EOF => {}
            token if is_plain(token) => text.push_str(&token.to_string()),
            _ => text.push('?'),
        }
    }
    text
}

/// Whether the token is a name, a placeholder, or punctuation. Everything else counts as a value.
fn is_plain(token: &Token) -> bool {
    match token {
        Token::Word(_) | Token::Placeholder(_) | Token::CustomBinaryOperator(_) => true,
        // What operators and brackets look like: no letter, no digit, no quote. A kind of literal that is not known here has one.
        other => {
            other.to_string().chars().all(|character| character.is_ascii_punctuation() && !matches!(character, '\'' | '"' | '$'))
        }
    }
}

enum Message {
    Line(String),
    /// Everything before it is written; the file is closed.
    Close(oneshot::Sender<()>),
}

/// The audit log of the process.
#[derive(Debug)]
pub struct Audit {
    queue: Option<mpsc::Sender<Message>>,
    writes: bool,
    values: bool,
    losses: Arc<Losses>,
    /// Ends when the queue does.
    _writer: Option<OwnedTask<()>>,
}

impl Audit {
    /// Opens the file and starts to write. Must be called inside the runtime.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn start(settings: &AuditSettings) -> Result<Arc<Self>, AuditError> {
        let Some(path) = &settings.file else { return Ok(Self::off()) };
        let page =
            Page::open(path, (settings.rotate, settings.keep)).map_err(|reason| AuditError { path: path.clone(), reason })?;
        let (queue, lines) = mpsc::channel(QUEUE);
        let losses = Arc::new(Losses::default());
        let counted = Arc::clone(&losses);
        let writer = OwnedTask::spawn_blocking(move || write_lines(page, lines, &counted));
        let (writes, values) = (settings.writes, settings.values);
        Ok(Arc::new(Self { queue: Some(queue), writes, values, losses, _writer: Some(writer) }))
    }

    /// One that writes nothing.
    pub fn off() -> Arc<Self> {
        Arc::new(Self { queue: None, writes: false, values: false, losses: Arc::default(), _writer: None })
    }

    /// Whether statements that write are to be told.
    pub fn tells_writes(&self) -> bool {
        self.writes && self.queue.is_some()
    }

    /// A statement as it may stand in an event.
    pub fn text(&self, sql: &str) -> String {
        if self.values { sql.to_owned() } else { masked(sql) }
    }

    /// Puts the event into the queue, and waits for room there for a second at most.
    pub async fn tell(&self, event: Event) {
        let Some(queue) = &self.queue else { return };
        let message = match queue.try_send(Message::Line(event.line())) {
            Ok(()) => return,
            Err(TrySendError::Full(message) | TrySendError::Closed(message)) => message,
        };
        if queue.send_timeout(message, PATIENCE).await.is_err() {
            self.losses.add("the queue is full");
        }
    }

    /// Writes what is in the queue and closes the file. What is told afterwards is lost.
    pub async fn close(&self) {
        let Some(queue) = &self.queue else { return };
        let (done, closed) = oneshot::channel();
        if queue.send(Message::Close(done)).await.is_ok() {
            // It has ended in any case when nobody answers.
            closed.await.ok();
        }
    }

    /// How many lines were lost.
    pub fn family(&self) -> Family {
        Family::counter("tributary_audit_lost_total", "Lines of the audit log that could not be written.")
            .is(self.losses.count.get())
    }
}

/// Lines that were not written.
#[derive(Debug, Default)]
struct Losses {
    count: Count,
    /// When it was said last.
    told: Mutex<Option<Instant>>,
}

impl Losses {
    fn add(&self, reason: &str) {
        self.count.add(1);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= COMPLAINT) {
            *told = Some(Instant::now());
            tracing::error!(reason, lost = self.count.get(), "lines of the audit log are lost");
        }
    }
}

fn write_lines(mut page: Page, mut lines: mpsc::Receiver<Message>, losses: &Losses) {
    while let Some(message) = lines.blocking_recv() {
        match message {
            Message::Line(line) => {
                if let Err(error) = page.write(&line) {
                    losses.add(&error.to_string());
                }
            }
            Message::Close(done) => {
                page.close();
                // Nothing gets into the queue any more, and what got into it behind this is lost like what comes later.
                lines.close();
                while let Some(Message::Line(_)) = lines.blocking_recv() {
                    losses.add("the log is closed");
                }
                // Whoever asked may have given up.
                done.send(()).ok();
                return;
            }
        }
    }
    page.close();
}

/// The file that is written, and its predecessors.
#[derive(Debug)]
struct Page {
    path: PathBuf,
    file: File,
    bytes: u64,
    rotate: u64,
    /// At how many bytes the file is turned over next.
    full: u64,
    keep: usize,
    /// Whether the last line in the file may lack its end.
    is_torn: bool,
}

impl Page {
    fn open(path: &Path, (rotate, keep): (u64, usize)) -> io::Result<Self> {
        let file = open(path)?;
        let bytes = file.metadata()?.len();
        // A process that was killed may have left half a line.
        let is_torn = bytes > 0;
        Ok(Self { path: path.to_owned(), file, bytes, rotate, full: rotate, keep, is_torn })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.bytes > 0
            && self.bytes + line.len() as u64 > self.full
            && let Err(error) = self.turn_over()
        {
            // The lines go on in the old file; it is tried again when that has grown by as much again.
            self.full = self.bytes.saturating_add(self.rotate);
            tracing::error!(%error, "the audit log could not be turned over");
        }
        if self.is_torn && !ends_in_line(&self.path) {
            self.file.write_all(b"\n")?;
            self.bytes += 1;
        }
        self.is_torn = true;
        self.file.write_all(line.as_bytes())?;
        self.is_torn = false;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// `audit.jsonl` becomes `audit.jsonl.1`, that becomes `.2`, and the last one goes.
    fn turn_over(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        for number in (1..self.keep).rev() {
            rename(&self.earlier(number), &self.earlier(number + 1))?;
        }
        rename(&self.path, &self.earlier(1))?;
        self.file = open(&self.path)?;
        (self.bytes, self.full, self.is_torn) = (0, self.rotate, false);
        Ok(())
    }

    fn earlier(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn close(&self) {
        if let Err(error) = self.file.sync_all() {
            tracing::error!(%error, "the audit log could not be closed");
        }
    }
}

/// A file that is not there needs no other name: it is the first time, or an earlier try came so far.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Whether the file ends with a whole line, as far as it can be read.
fn ends_in_line(path: &Path) -> bool {
    use std::io::{Read as _, Seek as _, SeekFrom};

    let last = || -> io::Result<u8> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    last().map_or(true, |byte| byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(file: &Path) -> AuditSettings {
        AuditSettings { file: Some(file.to_owned()), writes: true, values: false, rotate: 1 << 20, keep: 3 }
    }

    fn lines(file: &Path) -> Vec<Map<String, Value>> {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn literals_and_comments_are_not_in_what_is_told() {
        let rows = [
            (
                "INSERT INTO shop.orders VALUES (1, 'hunter2', E'x\\'y', $2, 0xff, 1.5e3)",
                "INSERT INTO shop.orders VALUES (?, ?, ?, $2, ?, ?)",
            ),
            (
                "UPDATE t SET a = $$hunter2$$, b = -7 WHERE c = B'101' -- hunter2\n AND d = X'ff'",
                "UPDATE t SET a = ?, b = -? WHERE c = ? AND d = ?",
            ),
            (
                "DELETE FROM \"My t\" /* hunter2 */ WHERE a->>'k' = U&'d' AND b = true",
                "DELETE FROM \"My t\" WHERE a->>? = ? AND b = true",
            ),
            (
                "SELECT 'it''s hunter2', $$!$$, $tag$hunter2$tag$, a <> b, c || d, e::text, f[1:2]",
                "SELECT ?, ?, ?, a <> b, c || d, e::text, f[?:?]",
            ),
            ("SELECT 'hunter2", "?"),
        ];
        for (sql, expected) in rows {
            assert_eq!(masked(sql), expected, "{sql}");
        }
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let name = "eve\n{\"event\":\"login\"}\u{1b}[2J\u{202e}";
        let event = Event::new("login_failed").by(name).address("::ffff:10.0.0.1".parse().unwrap()).process(7).failed("28P01");
        let line = event.line();
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1 && line.is_ascii(), "{line}");
        let read: Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert_eq!(read["role"], name);
        assert_eq!(read["address"], "10.0.0.1");
        assert_eq!(read["process"], 7);
        assert_eq!(read["outcome"], "failed");
        assert_eq!(read["sqlstate"], "28P01");
        let names: Vec<&str> = read.keys().map(String::as_str).collect();
        assert_eq!(names, ["at", "event", "role", "address", "process", "outcome", "sqlstate"]);
        let long = Event::new("write").by(&"é".repeat(60)).with("text", "x".repeat(1 << 20)).line();
        let read: Map<String, Value> = serde_json::from_str(&long).unwrap();
        assert_eq!(read["role"].as_str().unwrap().len(), 62);
        assert_eq!(read["text"].as_str().unwrap().len(), TEXT_BYTES_MAX + 3);
    }

    #[tokio::test]
    async fn events_are_in_the_file_when_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("audit.jsonl");
        let audit = Audit::start(&settings(&file)).unwrap();
        assert!(audit.tells_writes());
        assert_eq!(audit.text("SELECT 'x'"), "SELECT ?");
        for number in 0..100 {
            audit.tell(Event::new("write").with("number", number)).await;
        }
        audit.close().await;
        let numbers: Vec<u64> = lines(&file).iter().map(|line| line["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions()) & 0o777, 0o600);
        audit.tell(Event::new("late")).await;
        assert_eq!(audit.losses.count.get(), 1);
        // The next process goes on behind it, on a line of its own also after half a line.
        fs::write(&file, "{\"event\":\"torn").unwrap();
        let audit = Audit::start(&AuditSettings { values: true, ..settings(&file) }).unwrap();
        assert_eq!(audit.text("SELECT 'x'"), "SELECT 'x'");
        audit.tell(Event::new("login").done()).await;
        audit.close().await;
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("{\"event\":\"torn\n{\"at\":") && text.ends_with("\"outcome\":\"done\"}\n"), "{text}");
    }

    #[tokio::test]
    async fn one_that_is_off_writes_nothing_and_takes_everything() {
        let audit = Audit::off();
        assert!(!audit.tells_writes());
        audit.tell(Event::new("login")).await;
        audit.close().await;
        assert_eq!(audit.losses.count.get(), 0);
    }

    #[test]
    fn full_files_are_turned_over_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("audit.jsonl");
        let mut page = Page::open(&file, (120, 2)).unwrap();
        for number in 0..10 {
            page.write(&format!("{{\"number\":{number},\"more\":\"{}\"}}\n", "x".repeat(30))).unwrap();
        }
        let numbers = |file: &Path| lines(file).iter().map(|line| line["number"].as_u64().unwrap()).collect::<Vec<_>>();
        assert_eq!(numbers(&file), [8, 9]);
        assert_eq!(numbers(&page.earlier(1)), [6, 7]);
        assert_eq!(numbers(&page.earlier(2)), [4, 5]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_that_cannot_be_turned_over_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("audit.jsonl");
        let mut page = Page::open(&file, (10, 2)).unwrap();
        // Nothing can be renamed to a directory that holds something.
        fs::create_dir_all(page.earlier(1).join("taken")).unwrap();
        fs::create_dir_all(page.earlier(2).join("taken")).unwrap();
        for number in 0..5 {
            page.write(&format!("{{\"number\":{number}}}\n")).unwrap();
        }
        assert_eq!(lines(&file).len(), 5);
    }
}
