//! Tributary in a process of its own, and the memory of that process.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::Client;
use super::measure::must;
use super::stores::Stores;

/// How long the server may take to listen.
const START: Duration = Duration::from_secs(60);
/// The role that clients log in as.
const ROLE: &str = "bench";
/// The database's name.
const DATABASE: &str = "tributary";

/// A running server; dropping it ends it.
pub struct Proxy {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Proxy {
    /// Serves both stores, to local clients without a password.
    pub fn start(stores: &Stores) -> Self {
        let directory = must(TempDir::new());
        let address = must(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()));
        let settings = format!(
            "listen = \"{address}\"\nhttp.listen = \"off\"\ndatabase = \"{DATABASE}\"\nauth.trust = true\n[roles.{ROLE}]\n"
        );
        let server = &stores.postgres;
        let postgres = format!(
            "kind = \"postgres\"\nhost = \"{}\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{}\"\n",
            server.host(),
            server.port(),
            server.user(),
            server.password(),
            server.database()
        );
        let sqlite = format!("kind = \"sqlite\"\npath = {:?}\n", stores.sqlite_path().display().to_string());
        must(fs::create_dir(directory.path().join("stores")));
        for (name, text) in [("tributary.toml", &settings), ("stores/postgres.toml", &postgres), ("stores/sqlite.toml", &sqlite)] {
            must(fs::write(directory.path().join(name), text));
        }
        let log = must(File::create(directory.path().join("log")));
        let mut program = Command::new(env!("CARGO_BIN_EXE_tributary"));
        program.arg("serve").arg(directory.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = must(program.spawn());
        let mut proxy = Self { child, address, directory };
        proxy.wait_until_listening();
        proxy
    }

    fn wait_until_listening(&mut self) {
        let started = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = must(self.child.try_wait()).is_some() || started.elapsed() > START;
            let log = || fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            must(if ended { Err(format!("the server does not listen:\n{}", log())) } else { Ok(()) });
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A client of it.
    pub fn connect(&self) -> Client {
        Client::connect(self.address, ROLE, DATABASE)
    }

    /// The resident set of the process now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        resident_kib(self.child.id())
    }

    /// The id of the process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A server that has ended by itself needs no more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `VmRSS` of a process in KiB (proc(5)).
pub fn resident_kib(process_id: u32) -> u64 {
    let status = must(fs::read_to_string(format!("/proc/{process_id}/status")));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = line.and_then(|line| line.trim().split_once(' ')).and_then(|(digits, _unit)| digits.parse().ok());
    must(digits.ok_or("the process tells no resident set"))
}
