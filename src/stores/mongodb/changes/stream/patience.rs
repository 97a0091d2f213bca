//! How long the server is to wait for something to happen before it says that nothing has, and what cuts that short.
//!
//! The time is fixed when a stream is opened, so that another one is opened where it is to be another. That drops the call that is under
//! way, together with its stream; what it would have given is read again from where the stream had come to.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::super::super::pool::Deployment;
use super::super::Asked;
use super::super::event::{Event, Kind};
use super::super::open::Start;
use super::{SILENCE, Stop, Worker};
use crate::stores::capture::Ended;

/// How long the server waits for something to happen.
pub(super) const AWAIT: Duration = Duration::from_millis(100);
/// The same while somebody waits for positions, less than a read waits for a copy: each answer costs the server something.
const AWAIT_SHORT: Duration = Duration::from_millis(25);
/// The same where nothing has happened for some time.
const AWAIT_REST: Duration = Duration::from_millis(500);

/// For how long after somebody has asked for a position the server is asked often.
const AWAITED: Duration = Duration::from_secs(5);
/// For how long nothing must have happened before the server is asked seldom: opening another stream costs as much as many answers.
const QUIET: Duration = Duration::from_secs(5);

/// The first server that may give several writes one time.
const WIRE_SHARED_TIMES: i32 = 25;
/// The first server that may give several deletes one time, as those of what has expired.
const WIRE_SHARED_DELETES: i32 = 18;

impl Worker {
    /// How long the server should wait now.
    pub(super) fn patience_now(&self) -> Duration {
        // A stream from now could not be read again from where it began.
        let quiet = if matches!(self.start, Start::Now) { Duration::ZERO } else { self.stirred.elapsed() };
        patience(self.shared.positions_asked.within(AWAITED), quiet)
    }

    /// Whether the server waits so long that nobody who asks for something, and no end of a transaction, should wait for that.
    fn is_resting(&self) -> bool {
        is_resting(self.patience)
    }

    /// Waits for the server, and hears what is asked meanwhile. `None`: so much is asked that the stream is to be opened anew, and the
    /// call to be dropped with the one that there is.
    pub(super) async fn answer<T>(&mut self, mut next: Pin<&mut impl Future<Output = T>>) -> Result<Option<T>, Stop> {
        let (is_resting, shared) = (self.is_resting(), Arc::clone(&self.shared));
        let limit = if self.has_answered { SILENCE } else { shared.pool.patience().max(SILENCE) };
        let late = shared.pool.context.deadline("a change stream");
        let silence = tokio::time::sleep(limit);
        tokio::pin!(silence);
        let asked = is_resting.then_some(&shared.positions_asked);
        loop {
            // A command is not taken, and nobody who asks is missed, unless the branch runs; the call goes on where another branch ran.
            let command = tokio::select! {
                biased;
                answered = unless_asked(next.as_mut(), asked) => return Ok(answered),
                command = self.way.inbox.recv() => command.ok_or(Stop::Over),
                () = self.way.steps.closed() => return Err(Stop::Over),
                () = &mut silence => return Err(Stop::Ended(Ended::Again(late))),
            };
            self.note(command?);
            if is_resting {
                return Ok(None);
            }
        }
    }
}

/// What a call gives; `None` once somebody asks, where that is heard. Cancel-safe: the call goes on, and nobody who asks is missed.
async fn unless_asked<T>(mut call: Pin<&mut impl Future<Output = T>>, asked: Option<&Asked>) -> Option<T> {
    let Some(asked) = asked else { return Some(call.await) };
    loop {
        // Cancel-safe, both of them.
        tokio::select! {
            biased;
            given = call.as_mut() => return Some(given),
            () = asked.came() => {}
        }
        // It may be told now of somebody who asked long ago.
        if asked.within(AWAITED) {
            return None;
        }
    }
}

/// Whether a server that waits so long is asked seldom.
fn is_resting(patience: Duration) -> bool {
    patience > AWAIT
}

/// Whether an event is to be read again in another stream: one that was not given before, and to whose transaction more may come, of a server
/// that waits so long before it says that nothing has.
pub(super) fn is_read_again((is_new, is_single): (bool, bool), patience: Duration) -> bool {
    is_new && !is_single && is_resting(patience)
}

/// Whether an event is a single write, of which nothing more will come.
pub(super) fn is_single(event: &Event, deployment: Deployment) -> bool {
    let shared_from = if event.kind == Kind::Delete { WIRE_SHARED_DELETES } else { WIRE_SHARED_TIMES };
    let has_own_time = deployment.wire_version < shared_from && !deployment.sharded;
    event.is_of_row() && event.transaction.is_none() && has_own_time
}

/// Less where positions are waited for: that a transaction is over, or that what came last is in no table that is followed, is known only
/// when the server has waited for more. More where nothing has happened for so long.
fn patience(is_asked: bool, quiet: Duration) -> Duration {
    if is_asked {
        AWAIT_SHORT
    } else if quiet < QUIET {
        AWAIT
    } else {
        AWAIT_REST
    }
}

/// Whether an answer that nothing is there has taken as long as the server waits for something: not less, as of a stream that was just
/// opened, and not so much more that it may have been opened again in between.
pub(super) fn is_of_server(took: Duration, patience: Duration) -> bool {
    (patience / 2..patience * 10).contains(&took)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::time::Instant;

    use futures::FutureExt;
    use mongodb::bson::raw::RawDocumentBuf;
    use mongodb::bson::spec::BinarySubtype;
    use mongodb::bson::{Binary, Document, Timestamp, doc};

    use super::*;

    fn event(kind: &str, more: Document) -> Event {
        let time = Timestamp { time: 7, increment: 2 };
        let mut event =
            doc! { "_id": { "_data": "82" }, "operationType": kind, "clusterTime": time, "ns": { "db": "shop", "coll": "orders" } };
        event.extend(more);
        Event::read(RawDocumentBuf::from_bytes(event.to_vec().unwrap()).unwrap(), false).unwrap()
    }

    #[test]
    fn a_write_is_single_where_no_other_one_can_have_its_time() {
        let session = Binary { subtype: BinarySubtype::Uuid, bytes: vec![1; 16] };
        let of_transaction = || doc! { "lsid": { "id": session.clone() }, "txnNumber": 5_i64 };
        let alone = Document::new;
        let (set, shards) = (false, true);
        let rows = [
            ("insert", alone(), 17, set, true),
            ("insert", alone(), 24, set, true),
            ("insert", alone(), 25, set, false),
            ("update", alone(), 24, shards, false),
            ("delete", alone(), 17, set, true),
            ("delete", alone(), 18, set, false),
            ("replace", of_transaction(), 17, set, false),
            ("drop", alone(), 17, set, false),
        ];
        for (kind, more, wire_version, sharded, expected) in rows {
            let deployment = Deployment { replicated: true, sharded, wire_version };
            let event = event(kind, more);
            assert_eq!(is_single(&event, deployment), expected, "{event:?} {deployment:?}");
        }
    }

    #[test]
    fn what_may_have_more_to_it_is_read_again_where_the_server_waits_long() {
        for patience in [AWAIT_SHORT, AWAIT, AWAIT_REST] {
            let is_long = patience == AWAIT_REST;
            for (is_new, is_single, expected) in
                [(true, false, is_long), (true, true, false), (false, false, false), (false, true, false)]
            {
                assert_eq!(is_read_again((is_new, is_single), patience), expected, "{is_new} {is_single} {patience:?}");
            }
        }
    }

    #[test]
    fn who_asks_ends_the_wait_for_a_server_that_rests() {
        let asked = Asked::default();
        let mut call = pin!(pending::<()>());
        let mut other = pin!(pending::<()>());
        let mut waiting = pin!(unless_asked(call.as_mut(), Some(&asked)));
        assert_eq!(waiting.as_mut().now_or_never(), None, "nobody has asked");
        // One that does not rest does not hear it.
        let mut deaf = pin!(unless_asked(other.as_mut(), None));
        assert_eq!(deaf.as_mut().now_or_never(), None);
        asked.note();
        assert_eq!(waiting.as_mut().now_or_never(), Some(None));
        assert_eq!(deaf.as_mut().now_or_never(), None);
        // Who has asked before the wait is heard too, and an answer that is there goes first.
        asked.note();
        assert_eq!(unless_asked(pin!(ready(7)).as_mut(), Some(&asked)).now_or_never(), Some(Some(7)));
        assert_eq!(unless_asked(pin!(pending::<()>()).as_mut(), Some(&asked)).now_or_never(), Some(None));
    }

    #[test]
    fn who_asked_long_ago_ends_no_wait() {
        let asked = Asked::default();
        asked.note();
        *asked.last.lock().unwrap() = Instant::now().checked_sub(AWAITED * 2);
        let mut call = pin!(pending::<()>());
        let mut waiting = pin!(unless_asked(call.as_mut(), Some(&asked)));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        asked.note();
        assert_eq!(waiting.as_mut().now_or_never(), Some(None), "the next one was not heard");
    }

    #[test]
    fn an_answer_that_comes_too_soon_or_too_late_is_not_the_servers() {
        let took = |ms: u64| is_of_server(Duration::from_millis(ms), AWAIT);
        assert!(took(100) && took(130) && took(400));
        assert!(!took(0) && !took(20) && !took(5_000));
    }

    #[test]
    fn the_server_waits_long_only_where_nothing_happens_and_nobody_asks() {
        let moment = Duration::from_millis(1);
        let rows = [
            (false, Duration::ZERO, AWAIT),
            (false, QUIET.saturating_sub(moment), AWAIT),
            (false, QUIET, AWAIT_REST),
            (false, QUIET * 100, AWAIT_REST),
            (true, Duration::ZERO, AWAIT_SHORT),
            (true, QUIET * 100, AWAIT_SHORT),
        ];
        for (is_asked, quiet, expected) in rows {
            assert_eq!(patience(is_asked, quiet), expected, "{is_asked} {quiet:?}");
        }
        assert!(AWAIT_REST * 2 < SILENCE, "a server that rests would count as gone");
    }
}
