//! A server process that cannot outlive us, with its own directory and port.
//!
//! A small shell starts the server and reads a pipe whose other end only we hold. The pipe closes when the handle is
//! dropped and also when our process is killed, because the kernel closes it. The shell then ends the server, waits for it
//! and removes the directory. The shell is the server's ancestor and the only one to reap it, so the process id that it
//! signals cannot have been given to a stranger. The shell leads its own process group, so an interrupt typed at the
//! terminal reaches us and not the server. Words that come through the pipe kill the server and start it again on what it left.

use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::program::Program;
use super::{SandboxError, port};

/// `$1` directory, `$2` signal, the rest the server's command line. The inner shell writes `ended.<turn>` after the server is
/// reaped; until then the process id in `pid.<turn>` is ours. Each start is a turn with files of its own, and nobody else removes
/// them: words are read later than they are written, and one that is about an earlier turn must find that turn's files. Where a
/// process id can never be written, as on a full disk, the whole group is killed, and its directory is left.
///
/// Whoever is killed is stopped first, so that the processes it has started can be counted and are its own: those of PostgreSQL may
/// compute for long without noticing that they are alone, and no other server starts on their memory until then.
const GUARD: &str = r#"
directory=$1 signal=$2 turn=0
shift 2
run() {
    turn=$((turn + 1))
    (
        [ ! -e "$directory/variables" ] || . "$directory/variables"
        "$@" </dev/null >>"$directory/log" 2>&1 &
        echo $! >"$directory/pid.new"
        mv "$directory/pid.new" "$directory/pid.$turn"
        wait $!
        : >"$directory/ended.$turn"
    ) &
    inner=$!
}
strike() {
    children=
    if [ "$1" = KILL ]; then
        kill -s STOP "$2"
        children=$(cat "/proc/$2/task/$2/children" 2>/dev/null)
    fi
    kill -s "$1" "$2" $children
}
end() {
    looks=0
    until [ -e "$directory/pid.$turn" ]; do
        looks=$((looks + 1))
        { [ -d "$directory" ] && [ "$looks" -lt 6000 ]; } || kill -s KILL 0
        sleep 0.01
    done
    [ -e "$directory/ended.$turn" ] || strike "$1" "$(cat "$directory/pid.$turn")"
    wait "$inner"
}
ulimit -c 0
run "$@"
while read -r word; do
    case $word in
        kill) end KILL ;;
        again)
            wait "$inner"
            rm -f "$directory/pid.$turn" "$directory/ended.$turn"
            run "$@"
            ;;
    esac
done
end "$signal"
rm -rf "$directory"
"#;

/// How long a server may take to become ready on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long one readiness request may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two readiness requests.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(25);
/// How long a dropped handle waits for the guard; after that the guard finishes alone.
const END_LIMIT: Duration = Duration::from_secs(20);
/// How often a server is started anew when its port was taken between choosing and binding it.
const START_ATTEMPTS: usize = 3;
/// How long a killed server is started again when it ends at once: what is left of it may still hold its memory or its port.
const AGAIN_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two such starts.
const AGAIN_PAUSE: Duration = Duration::from_millis(250);
/// How much of a log goes into an error, in bytes.
const LOG_TAIL: usize = 4096;

/// The signal that ends a server at once, with all its child processes.
#[derive(Debug, Clone, Copy)]
pub(super) enum EndSignal {
    /// A single process that keeps nothing we need.
    Kill,
    /// PostgreSQL's immediate shutdown: its backends lead sessions of their own, and only the postmaster knows them
    /// (manual, "Shutting Down the Server").
    Quit,
}

/// An account of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
}

/// A private directory of a server that is not yet running. Dropping it removes the directory.
#[derive(Debug)]
pub(super) struct Place {
    server: &'static str,
    directory: TempDir,
    account: Option<Account>,
}

impl Place {
    /// Makes an empty directory (0700), owned by `account` where one is given.
    pub(super) fn new(server: &'static str, account: Option<Account>) -> Result<Self, SandboxError> {
        let prefix = format!("tributary-{server}-");
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir().map_err(io_error(server, "make a directory"))?;
        let place = Self { server, directory, account };
        place.give(place.path())?;
        Ok(place)
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file (0600) that the server's account owns.
    pub(super) fn write(&self, name: &str, content: &str) -> Result<PathBuf, SandboxError> {
        let path = self.path().join(name);
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()));
        written.map_err(io_error(self.server, &format!("write {name}")))?;
        self.give(&path)?;
        Ok(path)
    }

    fn give(&self, path: &Path) -> Result<(), SandboxError> {
        let Some(account) = self.account else { return Ok(()) };
        chown(path, Some(account.uid), Some(account.gid)).map_err(io_error(self.server, "give a file to its account"))
    }

    /// Runs the program that fills the data directory, as the server's account.
    pub(super) async fn prepare(&self, program: Program, arguments: &[OsString]) -> Result<(), SandboxError> {
        let mut command = tokio::process::Command::new(program.find()?);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null()).kill_on_drop(true);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        let output = command.output().await.map_err(io_error(self.server, &format!("run {}", program.name)))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(SandboxError::Prepare { program: program.name, output: tail(&String::from_utf8_lossy(&said)) })
    }

    /// Starts the server under its guard. The directory is the guard's from here on.
    pub(super) fn start(self, program: Program, arguments: &[OsString], signal: EndSignal) -> Result<Guarded, SandboxError> {
        let path = program.find()?;
        self.start_file(&path, arguments, signal)
    }

    /// The same for a program whose file is known.
    pub(super) fn start_file(self, path: &Path, arguments: &[OsString], signal: EndSignal) -> Result<Guarded, SandboxError> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(GUARD).arg("guard").arg(self.path()).arg(signal.name()).arg(path).args(arguments);
        command.current_dir(self.path()).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        let guard = command.spawn().map_err(io_error(self.server, "start the guard"))?;
        Ok(Guarded { server: self.server, guard, directory: self.directory.keep(), turn: 1 })
    }
}

impl EndSignal {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
        }
    }
}

/// A running server; dropping it ends the server and removes its directory.
#[derive(Debug)]
pub(super) struct Guarded {
    server: &'static str,
    guard: Child,
    directory: PathBuf,
    /// How often it was started: as the guard counts.
    turn: u32,
}

impl Guarded {
    /// The process id of the server itself, for tests that kill it.
    pub(super) fn process_id(&self) -> Option<u32> {
        fs::read_to_string(self.of_turn("pid")).ok()?.trim().parse().ok()
    }

    /// Whether the server has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.of_turn("ended").exists()
    }

    /// A file that the guard writes at every start.
    fn of_turn(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.{}", self.turn))
    }

    /// Kills the server by SIGKILL and waits until it is gone; what it wrote stays. Nothing happens where it has ended.
    pub(super) async fn kill(&mut self) -> Result<(), SandboxError> {
        self.tell("kill")?;
        let started = Instant::now();
        while !self.has_ended() {
            if started.elapsed() > READY_LIMIT {
                let (limit_s, reason) = (READY_LIMIT.as_secs(), "it was killed and goes on".to_owned());
                return Err(SandboxError::NotReady { server: self.server, limit_s, reason, log: self.log() });
            }
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
        Ok(())
    }

    /// Starts the server again, on what it left when it was killed or ended, and repeats `attempt` until it succeeds.
    pub(super) async fn again<T, F>(&mut self, attempt: impl Fn() -> F) -> Result<T, SandboxError>
    where
        F: Future<Output = Result<T, String>>,
    {
        let started = Instant::now();
        loop {
            self.kill().await?;
            self.tell("again")?;
            self.turn += 1;
            match self.ready(&attempt).await {
                Err(SandboxError::Ended { .. }) if started.elapsed() < AGAIN_LIMIT => {}
                result => return result,
            }
            tokio::time::sleep(AGAIN_PAUSE).await;
        }
    }

    /// Sets the environment variables that the next start has besides ours.
    pub(super) fn set_variables(&self, variables: &[(&str, &str)]) -> Result<(), SandboxError> {
        let path = self.directory.join("variables");
        fs::write(path, exports(variables)).map_err(io_error(self.server, "write its variables"))
    }

    fn tell(&mut self, word: &str) -> Result<(), SandboxError> {
        let server = self.server;
        let told = match &mut self.guard.stdin {
            Some(pipe) => pipe.write_all(format!("{word}\n").as_bytes()).and_then(|()| pipe.flush()),
            None => Ok(()),
        };
        told.map_err(io_error(server, &format!("{word} it")))
    }

    /// Repeats `attempt` until it succeeds, the server ends, or the deadline passes. Where the server has ended, whoever answers is
    /// somebody else who has its port now.
    pub(super) async fn ready<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, SandboxError>
    where
        F: Future<Output = Result<T, String>>,
    {
        let started = Instant::now();
        loop {
            let reason = match tokio::time::timeout(ATTEMPT_LIMIT, attempt()).await {
                Ok(Ok(answer)) if !self.has_ended() => return Ok(answer),
                Ok(Ok(_)) => "somebody else has its port".to_owned(),
                Ok(Err(reason)) => reason,
                Err(_elapsed) => "no answer".to_owned(),
            };
            if self.has_ended() {
                return Err(SandboxError::Ended { server: self.server, log: self.log() });
            }
            if started.elapsed() > READY_LIMIT {
                let limit_s = READY_LIMIT.as_secs();
                return Err(SandboxError::NotReady { server: self.server, limit_s, reason, log: self.log() });
            }
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
    }

    fn log(&self) -> String {
        fs::read(self.directory.join("log")).map(|log| tail(&String::from_utf8_lossy(&log))).unwrap_or_default()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let started = Instant::now();
        while started.elapsed() < END_LIMIT && matches!(self.guard.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Lines that a shell reads.
pub(super) fn exports(variables: &[(&str, &str)]) -> String {
    let quoted = |value: &str| value.replace('\'', "'\\''");
    variables.iter().map(|(name, value)| format!("export {name}='{}'\n", quoted(value))).collect()
}

/// Starts a server anew, from an empty directory, while it ends by itself because somebody else took its port.
pub(super) async fn start_retrying<T, F>(start: impl Fn() -> F) -> Result<T, SandboxError>
where
    F: Future<Output = Result<T, SandboxError>>,
{
    let mut attempt = 1;
    loop {
        match start().await {
            Err(SandboxError::Ended { log, .. }) if attempt < START_ATTEMPTS && port_was_taken(&log) => attempt += 1,
            result => return result,
        }
    }
}

/// Whether a log says that somebody else has the port: in the words of the system, or in ours.
pub(super) fn port_was_taken(log: &str) -> bool {
    let log = log.to_lowercase();
    ["address already in use", "which is in use"].iter().any(|words| log.contains(words))
}

/// A port of the loopback interface that was free a moment ago.
pub(super) fn free_port(server: &'static str) -> Result<u16, SandboxError> {
    port::free_port().map_err(io_error(server, "find a free port"))
}

/// Whether we run as root.
pub(super) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The account for a server that refuses root; `None` when we are not root and it can run as ourselves.
pub(super) fn unprivileged_account() -> Result<Option<Account>, SandboxError> {
    if !is_root() {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|name| account(&accounts, name)).map(Some).ok_or(SandboxError::NoAccount)
}

/// Finds an account in the text of `/etc/passwd` (passwd(5)).
fn account(accounts: &str, name: &str) -> Option<Account> {
    let fields: Vec<&str> =
        accounts.lines().map(|line| line.split(':').collect()).find(|fields: &Vec<&str>| fields.first() == Some(&name))?;
    let number = |index: usize| fields.get(index)?.parse::<u32>().ok();
    let found = Account { uid: number(2)?, gid: number(3)? };
    (found.uid != 0).then_some(found)
}

pub(super) fn io_error(server: &'static str, action: &str) -> impl FnOnce(io::Error) -> SandboxError {
    let action = action.to_owned();
    move |reason| SandboxError::Io { server, action, reason }
}

fn tail(text: &str) -> String {
    let mut start = text.len().saturating_sub(LOG_TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_never_root() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\npostgresql:x:7:7::/:\npostgres:x:101:104:,,,:/var:/bin/sh\nodd:x:0:0::/:\n";
        assert_eq!(account(accounts, "postgres"), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(account(accounts, "nobody"), None);
        assert_eq!(account(accounts, "odd"), None);
    }

    #[tokio::test]
    async fn what_was_killed_starts_again_and_goes_with_its_handle() {
        let place = Place::new("sleep", None).unwrap();
        let directory = place.path().to_owned();
        let mut guarded = place.start_file(Path::new("/bin/sleep"), &["1000".into()], EndSignal::Kill).unwrap();
        let mut processes = std::collections::BTreeSet::new();
        for _ in 0..30 {
            // Whoever has been killed and is to be killed once more has ended before the guard reads the second word.
            guarded.kill().await.unwrap();
            guarded.kill().await.unwrap();
            assert!(guarded.has_ended());
            guarded.again(|| std::future::ready(Ok::<(), String>(()))).await.unwrap();
            while guarded.process_id().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            processes.insert(guarded.process_id().unwrap());
        }
        assert_eq!((processes.len(), guarded.has_ended()), (30, false));
        let last = format!("/proc/{}", guarded.process_id().unwrap());
        assert!(Path::new(&last).exists());
        drop(guarded);
        assert!(!Path::new(&last).exists() && !directory.exists());
    }

    #[tokio::test]
    async fn who_answers_for_a_server_that_has_ended_is_not_taken_for_it() {
        let place = Place::new("false", None).unwrap();
        let guarded = place.start_file(Path::new("/bin/false"), &[], EndSignal::Kill).unwrap();
        let asked = &guarded;
        let answer = || async move { if asked.has_ended() { Ok(()) } else { Err("it has not ended".to_owned()) } };
        assert!(matches!(guarded.ready(answer).await, Err(SandboxError::Ended { .. })));
    }

    #[test]
    fn a_port_that_is_taken_is_known_by_what_is_said_of_it() {
        assert!(port_was_taken("could not bind IPv4 address \"127.0.0.1\": Address already in use"));
        assert!(port_was_taken("tributary: cannot listen on 127.0.0.1:5432, which is in use. Another program listens there"));
        assert!(!port_was_taken("stores.pg.outbox: is not a known key"));
    }

    #[test]
    fn values_of_variables_are_quoted() {
        let lines = exports(&[("A", "b=kill@3, c"), ("D", "it's $HOME")]);
        assert_eq!(lines, "export A='b=kill@3, c'\nexport D='it'\\''s $HOME'\n");
    }

    #[test]
    fn a_tail_starts_at_a_character() {
        let text = "ä".repeat(LOG_TAIL);
        assert_eq!(tail(&format!("x{text}")).len(), LOG_TAIL);
        assert_eq!(tail(" short "), "short");
    }
}
