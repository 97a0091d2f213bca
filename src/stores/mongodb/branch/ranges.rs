//! Reading one collection by several cursors: ranges of `_id`, all at one cluster time.
//!
//! ```text
//! $sample → bounds → find hint {_id: 1} max b1 │ min b1 max b2 │ … │ min bn      each in a session at the same time, each in a task
//! ```
//!
//! **Invariants:** the ranges are those of the index over `_id`, which has every document of every type of key in one place, so that
//! they are the whole collection whatever the bounds are. Bounds are of types whose order no collation changes. Whatever cannot be had
//! leaves the scan to be read by one cursor, which says what is wrong if anything is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::try_join_all;
use mongodb::Collection;
use mongodb::bson::raw::{RawBsonRef, RawDocumentBuf};
use mongodb::bson::{Bson, doc};
use mongodb::options::{AggregateOptions, Collation};
use tokio::sync::{Mutex, mpsc};

use super::super::columns::ID;
use super::super::error::Context;
use super::super::raw;
use super::super::scan::{self, Query, Session};
use super::{Branch, View};
use crate::stores::StoreError;
use crate::stores::connector::{BatchStream, Scan, ScanLimits};
use crate::stores::schema::Table;
use crate::task::OwnedTask;

/// Documents drawn at random for each range.
const SAMPLED_EACH: usize = 16;
/// Longest time that drawing them may take: it is short as long as the server need not look at all of them.
const SAMPLE_TIME: Duration = Duration::from_secs(2);

impl Branch {
    /// The scan as ranges; `None` where it is to be read as one stream.
    pub(super) async fn start_ranges(
        &self,
        table: &Arc<Table>,
        scan: &Scan,
        limits: ScanLimits,
        most: usize,
    ) -> Result<Option<Vec<BatchStream>>, StoreError> {
        let (pool, most) = (&self.shared.pool, most.min(self.free()));
        if most < 2 || table.division.is_none() || !is_divisible(scan) {
            return Ok(None);
        }
        if !pool.seen().is_some_and(|deployment| deployment.snapshot().is_ok() && !deployment.sharded) {
            return Ok(None);
        }
        let collection = self.collection(table).await?;
        let Some(bounds) = self.bounds(&collection, most).await else { return Ok(None) };
        // In a read committed transaction the scan has a time of its own.
        let own = Mutex::new(None);
        let time = match &self.view {
            View::Snapshot(time) => time,
            View::Newest(_) => &own,
        };
        let on_mismatch = self.shared.options_of(&table.id).on_mismatch;
        let query = Query::of(table, scan, on_mismatch);
        let mut opening = Vec::new();
        for (first, end) in between(&bounds) {
            let session = self.session_at(time, &collection).await?;
            if matches!(session, Session::Alone) {
                return Ok(None);
            }
            opening.push(Box::pin(scan::open(pool, &collection, query.clone().within_keys(first, end), limits, session)));
        }
        let mut streams = Vec::with_capacity(opening.len());
        for opened in try_join_all(opening).await? {
            match opened {
                Ok(opened) => {
                    let stream = scan::stream(pool.clone(), opened, table, scan, limits, on_mismatch)?;
                    streams.push(aside(stream, pool.context.clone()));
                }
                Err(error) => {
                    tracing::debug!(store = %self.shared.name, error = %pool.context.translate(&error), "a scan is not divided");
                    return Ok(None);
                }
            }
        }
        Ok(Some(streams))
    }

    /// Connections that are free, but for half of the pool, which is left to others.
    fn free(&self) -> usize {
        let usage = self.shared.pool.usage();
        let free = usage.most.saturating_sub(usage.in_use);
        usize::try_from(free.saturating_sub(usage.most.div_ceil(2))).unwrap_or(usize::MAX)
    }

    /// Keys between ranges of about the same size.
    async fn bounds(&self, collection: &Collection<RawDocumentBuf>, ranges: usize) -> Option<Vec<Bson>> {
        let pool = &self.shared.pool;
        let size = i64::try_from(ranges.saturating_mul(SAMPLED_EACH)).ok()?;
        let stages = [doc! { "$sample": { "size": size } }, doc! { "$project": { "_id": 1 } }, doc! { "$sort": { "_id": 1 } }];
        let mut options = AggregateOptions::default();
        options.max_time = Some(pool.query_timeout().min(SAMPLE_TIME));
        options.collation = Some(Collation::builder().locale("simple").build());
        let drawing = async { collection.aggregate(stages).with_options(options).batch().await };
        let mut cursor = pool.within("a sample", drawing).await.ok()?;
        let mut keys = Vec::new();
        while let Some(batch) = pool.within("a sample", async { cursor.next().await.transpose() }).await.ok()? {
            for document in raw::documents(batch.doc_slices().ok()?) {
                let key = document.ok()?.get(ID).ok()??;
                keys.extend(bound(key));
            }
        }
        Some(quantiles(&keys, ranges)).filter(|bounds| !bounds.is_empty())
    }
}

/// Whether the documents of a scan are what it gives: a limit and a count are of all of them, and a column that is asked for twice is
/// made of one.
fn is_divisible(scan: &Scan) -> bool {
    let distinct: BTreeSet<&usize> = scan.columns.iter().collect();
    scan.limit.is_none() && !scan.columns.is_empty() && distinct.len() == scan.columns.len()
}

/// A key that has one place in the index, whatever its collation.
fn bound(key: RawBsonRef<'_>) -> Option<Bson> {
    let is_placed = matches!(
        key,
        RawBsonRef::ObjectId(_) | RawBsonRef::Int32(_) | RawBsonRef::Int64(_) | RawBsonRef::DateTime(_) | RawBsonRef::Binary(_)
    );
    if is_placed { Bson::try_from(key).ok() } else { None }
}

/// Of keys in order, those between parts of about the same size.
fn quantiles(keys: &[Bson], parts: usize) -> Vec<Bson> {
    let mut found: Vec<Bson> = (1..parts).filter_map(|part| keys.get(keys.len() * part / parts).cloned()).collect();
    found.dedup();
    found
}

/// The ranges between bounds, with those before the first and from the last on.
fn between(bounds: &[Bson]) -> Vec<(Option<Bson>, Option<Bson>)> {
    let firsts = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
    let ends = bounds.iter().cloned().map(Some).chain([None]);
    firsts.zip(ends).collect()
}

/// The same batches, made by a task of their own, one ahead.
fn aside(mut stream: BatchStream, context: Context) -> BatchStream {
    // A full channel makes the cursor wait.
    let (sender, receiver) = mpsc::channel(1);
    let task = OwnedTask::spawn(async move {
        while let Ok(place) = sender.reserve().await {
            let batch = stream.next().await;
            let is_last = !matches!(batch, Some(Ok(_)));
            place.send(batch);
            if is_last {
                return;
            }
        }
    });
    let reading = futures::stream::unfold(Some((receiver, task, context)), |state| async move {
        let (mut receiver, task, context) = state?;
        match receiver.recv().await {
            Some(Some(Ok(batch))) => Some((Ok(batch), Some((receiver, task, context)))),
            Some(Some(Err(error))) => Some((Err(error), None)),
            Some(None) => None,
            // The end is said, so that a task that died is not taken for the end of the rows.
            None => Some((Err(context.malformed()), None)),
        }
    });
    reading.boxed()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;

    use super::*;

    #[test]
    fn ranges_meet_and_have_open_ends() {
        let keys: Vec<Bson> = (0..10).map(Bson::Int32).collect();
        let bounds = quantiles(&keys, 3);
        assert_eq!(bounds, [Bson::Int32(3), Bson::Int32(6)]);
        let ranges = between(&bounds);
        let expected = [(None, Some(Bson::Int32(3))), (Some(Bson::Int32(3)), Some(Bson::Int32(6))), (Some(Bson::Int32(6)), None)];
        assert_eq!(ranges, expected);
        assert_eq!(quantiles(&[Bson::Int32(1), Bson::Int32(1)], 4), [Bson::Int32(1)]);
        assert!(quantiles(&[], 4).is_empty());
        assert_eq!(between(&[]).len(), 1);
    }

    #[test]
    fn keys_that_a_collation_orders_are_no_bounds() {
        let id = ObjectId::from_bytes([7; 12]);
        assert_eq!(bound(RawBsonRef::ObjectId(id)), Some(Bson::ObjectId(id)));
        assert_eq!(bound(RawBsonRef::Int64(5)), Some(Bson::Int64(5)));
        for key in [RawBsonRef::String("a"), RawBsonRef::Null, RawBsonRef::Double(f64::NAN), RawBsonRef::Boolean(true)] {
            assert_eq!(bound(key), None);
        }
    }
}
