//! `tributary serve` as a process: addresses that are taken, views that are broken, signals.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::{text, tributary, write};

/// Longer than any line should be waited for on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; ended with SIGTERM by its id when dropped.
pub struct Serving {
    program: Child,
    lines: mpsc::Receiver<String>,
    /// What it has said so far.
    pub said: Vec<String>,
    pub address: SocketAddr,
}

impl Serving {
    /// Starts it on a directory and waits until it serves.
    pub fn start(directory: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        command.arg("serve").arg(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut program = command.spawn().unwrap();
        let log = BufReader::new(program.stderr.take().unwrap());
        let (sender, lines) = mpsc::sync_channel(10_000);
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut serving = Self { program, lines, said: Vec::new(), address: SocketAddr::from(([0, 0, 0, 0], 0)) };
        let line = serving.wait_for("serving the Postgres protocol");
        let address = line.split("address").nth(1).unwrap().trim_start_matches(['=', '"', ':']);
        serving.address = address.split(['"', ' ']).next().unwrap().parse().unwrap();
        serving
    }

    /// Reads the log up to a line with these words.
    pub fn wait_for(&mut self, words: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else { panic!("{words:?} was not said:\n{}", self.said.join("\n")) };
            self.said.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.program.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it and gives everything that it said.
    pub fn end(mut self) -> String {
        self.signal("TERM");
        assert_eq!(self.program.wait().unwrap().code(), Some(0));
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.said.push(line);
        }
        self.said.join("\n")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.program.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.program.kill().ok();
            self.program.wait().ok();
        }
    }
}

fn main_file(listen: &str) -> String {
    format!("listen = \"{listen}\"\nhttp.listen = \"off\"\nauth.trust = true\n[roles.ada]\n")
}

#[test]
fn a_busy_address_is_told_by_serve_and_check_with_what_to_do() {
    let catalog = tempfile::tempdir().unwrap();
    let directory = catalog.path().to_str().unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let http_taken = format!("listen = \"127.0.0.1:0\"\nhttp.listen = \"{taken}\"\nauth.trust = true\n[roles.ada]\n");
    for (key, main) in [("listen", main_file(&taken.to_string())), ("http.listen", http_taken)] {
        write(catalog.path(), "tributary.toml", &main);
        let refused = tributary(&["serve", directory], "");
        let (code, said) = (refused.status.code(), text(&refused.stderr));
        assert_eq!(code, Some(1), "{said}");
        let advice = format!(
            "tributary: cannot listen on {taken}, which is in use. Another program listens there: stop it, or choose another address \
             with the key {key} in tributary.toml."
        );
        assert!(said.contains(&advice), "{said}");
        let checked = tributary(&["check", directory], "");
        let said = text(&checked.stdout);
        assert_eq!(checked.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("cannot listen on {taken}, which is in use")), "{said}");
    }
}

#[test]
fn the_address_of_its_own_running_server_is_free_to_check() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    drop(holder);
    let catalog = tempfile::tempdir().unwrap();
    write(catalog.path(), "tributary.toml", &main_file(&address));
    let server = Serving::start(catalog.path());
    let own = tributary(&["check", catalog.path().to_str().unwrap()], "");
    assert_eq!(own.status.code(), Some(0), "{}", text(&own.stdout));
    // The same address in another directory is a stranger's.
    let other = tempfile::tempdir().unwrap();
    write(other.path(), "tributary.toml", &main_file(&address));
    assert_eq!(tributary(&["check", other.path().to_str().unwrap()], "").status.code(), Some(1));
    server.end();
    assert_eq!(tributary(&["check", other.path().to_str().unwrap()], "").status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_cannot_be_planned_is_warned_of_and_answers_with_its_error() {
    let catalog = tempfile::tempdir().unwrap();
    write(catalog.path(), "tributary.toml", &main_file("127.0.0.1:0"));
    write(catalog.path(), "views/fine.sql", "SELECT 1 AS n");
    write(catalog.path(), "views/broken.sql", "SELECT n, m FROM fine");
    let server = Serving::start(catalog.path());
    let warned = server.said.iter().find(|line| line.contains("a view cannot be planned")).unwrap();
    for words in ["WARN", "views/broken.sql", "42703", "column \"m\" does not exist"] {
        assert!(warned.contains(words), "{warned}");
    }
    let mut login = tokio_postgres::Config::new();
    login.host("127.0.0.1").port(server.address.port()).user("ada").dbname("tributary");
    let session = crate::support::proxy::open(&login).await.unwrap();
    assert_eq!(session.answer("SELECT n FROM fine").await, "1");
    let failure = session.failure("SELECT n FROM broken").await;
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("42703", "view \"public.broken\" cannot be planned"));
    assert!(failure.detail.contains("column \"m\" does not exist"), "{failure:?}");
    drop(session);
    server.end();
}

#[test]
fn a_reload_names_the_keys_that_wait_for_a_restart() {
    let catalog = tempfile::tempdir().unwrap();
    write(catalog.path(), "tributary.toml", &main_file("127.0.0.1:0"));
    let mut server = Serving::start(catalog.path());
    server.signal("HUP");
    server.wait_for("the catalog directory was read again");
    let changed = format!("limits.batch_rows = 100\n{}", main_file("127.0.0.1:1"));
    write(catalog.path(), "tributary.toml", &changed);
    server.signal("HUP");
    let told = server.wait_for("take effect at the next start");
    assert!(told.contains("WARN") && told.contains("listen, limits.batch_rows"), "{told}");
    write(catalog.path(), "tributary.toml", "listen = 1\nsurprise = 2\n");
    server.signal("HUP");
    let told = server.wait_for("the catalog directory was not taken over");
    for words in ["tributary.listen", "tributary.surprise", "tributary.roles"] {
        assert!(told.contains(words), "{told}");
    }
    let said = server.end();
    assert_eq!(said.matches("take effect at the next start").count(), 1, "{said}");
}

/// The next connection to a listener.
fn accepted(listener: TcpListener) -> TcpStream {
    let (sender, connections) = mpsc::sync_channel(1);
    std::thread::spawn(move || sender.send(listener.accept()));
    let accepted = connections.recv_timeout(PATIENCE).expect("nobody has connected");
    accepted.unwrap().0
}

/// A store whose server takes connections and never answers: a reload waits for it.
#[test]
fn a_server_can_be_stopped_while_it_reads_the_directory_again() {
    let catalog = tempfile::tempdir().unwrap();
    write(catalog.path(), "tributary.toml", &main_file("127.0.0.1:0"));
    let mut server = Serving::start(catalog.path());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!(
        "kind = \"postgres\"\nport = {}\nuser = \"u\"\ndatabase = \"d\"\nconnect_timeout = \"10m\"\ndiscovery_timeout = \"10m\"\n",
        silent.local_addr().unwrap().port()
    );
    write(catalog.path(), "stores/mute.toml", &store);
    server.signal("HUP");
    let _asked = accepted(silent);
    server.signal("TERM");
    server.wait_for("stopping: no new sessions");
    assert!(!server.end().contains("was read again"));
}
