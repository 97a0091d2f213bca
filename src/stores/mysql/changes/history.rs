//! Whether a server that says nothing new still writes the log that is read.
//!
//! `RESET MASTER` takes its files away under whoever reads them. As long as the new file of the same name is shorter than the place that a
//! reader has reached, MariaDB goes on to tell it by heartbeats that nothing has come behind that place, and what is logged meanwhile is
//! never sent. So the server is asked for its ids now and then with a heartbeat, and they are compared with a later one.
//!
//! What looks like another log ends the reading, and nothing more: whoever begins again asks for what was kept, and learns whether it is
//! there (`Server::resumed`, `Binlog::has_history`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;

use super::super::super::error::StoreError;
use super::super::super::position::Coverage;
use super::super::Shared;
use super::Server;
use super::position::Gtids;
use crate::task::OwnedTask;

/// How long it is between two questions, at least.
const BETWEEN: Duration = Duration::from_millis(4_500);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);
/// How old an answer is with which a heartbeat is compared, at least: one that had waited for us may have been sent before it.
const AGE_MIN: Duration = Duration::from_secs(1);

/// What a server was asked while nothing new came.
pub(super) struct History {
    shared: Arc<Shared>,
    asked: Option<Asked>,
    /// What it had logged by the answer before (MySQL).
    logged: Option<Gtids>,
}

struct Asked {
    at: Instant,
    /// Everything that had been read by then.
    applied: Gtids,
    answer: OwnedTask<Option<(Server, Instant)>>,
}

impl History {
    /// Nothing was asked yet.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, asked: None, logged: None }
    }

    /// Takes note of a heartbeat, behind everything that came before it. `false`: the server seems to write another log.
    pub(super) fn goes_on(&mut self, applied: &Gtids) -> bool {
        if self.asked.as_ref().is_some_and(|asked| asked.at.elapsed() < BETWEEN) {
            return true;
        }
        let mut goes_on = true;
        if let Some(mut asked) = self.asked.take() {
            let Some(answer) = asked.answer.joined().now_or_never() else {
                self.asked = Some(asked);
                return true;
            };
            // A server that has not answered is noticed by others.
            if let Some((server, _at)) = answer.flatten().filter(|(_server, at)| at.elapsed() >= AGE_MIN) {
                goes_on = is_same(&server, self.logged.as_ref(), &asked.applied, applied);
                self.logged = Some(server.logged);
            }
        }
        let answer = OwnedTask::spawn(ask(Arc::clone(&self.shared)));
        self.asked = Some(Asked { at: Instant::now(), applied: applied.clone(), answer });
        goes_on
    }
}

async fn ask(shared: Arc<Shared>) -> Option<(Server, Instant)> {
    let asked = async {
        let mut lease = shared.control.lease().await?;
        let server = Server::ask(&mut lease, &shared).await?;
        lease.release();
        Ok::<Server, StoreError>(server)
    };
    let server = tokio::time::timeout(ANSWER, asked).await.ok()?.ok()?;
    Some((server, Instant::now()))
}

/// Whether a server that has answered so writes the log of which `then` had been read when it was asked, and `now` is with a later heartbeat.
fn is_same(server: &Server, earlier: Option<&Gtids>, then: &Gtids, now: &Gtids) -> bool {
    match then {
        Gtids::Maria(_) => {
            // It had everything that was read of it; and a heartbeat comes when everything was sent that was logged before.
            let has_come = then != now || now.covers(&server.logged) == Coverage::Covered;
            then.is_within(&server.state) && has_come
        }
        // This one may send what it does not count yet, while a replica has not answered, but forgets nothing that it has counted.
        Gtids::MySql(_) => earlier.is_none_or(|earlier| server.logged.covers(earlier) == Coverage::Covered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maria(text: &str) -> Gtids {
        Gtids::of_mariadb(text).unwrap()
    }

    fn answered(logged: Gtids, state: &str) -> Server {
        Server { identity: "s".into(), logged, state: state.to_owned(), purged: None }
    }

    #[test]
    fn a_log_that_began_anew_is_noticed_by_ids_that_went_and_by_ids_that_do_not_come() {
        let read = maria("0-1-40");
        let check = |logged: &str, now: &str| is_same(&answered(maria(logged), logged), None, &read, &maria(now));
        assert!(check("0-1-40", "0-1-40"), "nothing has happened");
        assert!(check("0-1-42", "0-1-42") && check("0-1-42", "0-1-41"), "something came since");
        assert!(check("0-1-42,5-1-1", "0-1-41"), "the rest of it may be on its way");
        assert!(!check("", "0-1-40") && !check("0-1-3", "0-1-40"), "it counts anew");
        assert!(!check("0-1-42", "0-1-40"), "it has counted further than what was read, and sends nothing of it");
        assert!(!check("0-1-40,5-1-1", "0-1-40"));
        // Several servers have written one domain, of which the newest entry is the last.
        let server = answered(maria("0-2-41"), "0-1-40,0-2-41");
        assert!(is_same(&server, None, &maria("0-2-41"), &maria("0-2-41")));
        assert!(!is_same(&server, None, &maria("0-3-41"), &maria("0-3-41")));
    }

    #[test]
    fn what_mysql_has_counted_stays_counted() {
        let mysql = |range: &str| Gtids::of_mysql(&format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:{range}")).unwrap();
        let check = |logged: &str, earlier: Option<&str>| {
            let server = answered(mysql(logged), "");
            is_same(&server, earlier.map(mysql).as_ref(), &mysql("1-40"), &mysql("1-40"))
        };
        assert!(check("1-39", None) && check("1-39", Some("1-39")), "the last one waits for a replica");
        assert!(check("1-41", Some("1-40")) && !check("1-3", Some("1-40")));
    }
}
