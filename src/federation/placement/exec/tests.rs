//! The choice between a part and its alternative.

use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::Int32Array;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;
use crate::stores::StoreName;
use crate::stores::fragment::{Relation, Tables};

#[derive(Debug)]
struct Fresh {
    is_fresh: bool,
    asked: AtomicUsize,
}

impl Choice for Fresh {
    fn takes_alternative(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.is_fresh
    }
}

fn part() -> Arc<Part> {
    let sent = Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false)]));
    let root = Relation::Values { types: vec![crate::pgtype::PgType::INT4], rows: Vec::new() };
    let fragment = Fragment::new(StoreName::new("shop"), root);
    Arc::new(Part { fragment, tables: Tables::new(), described: "SELECT 1".to_owned(), sent, order: Vec::new(), rows: Some(7) })
}

fn node(choice: Arc<Fresh>) -> FragmentExec {
    let schema = Arc::clone(&part().sent);
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from(vec![4, 5, 6]))]).unwrap();
    let plan = MemorySourceConfig::try_new_exec(&[vec![batch]], Arc::clone(&schema), None).unwrap();
    FragmentExec::new(part(), schema).with_alternative(Alternative { plan, choice })
}

#[tokio::test]
async fn an_alternative_is_chosen_when_the_first_batch_is_asked_for() {
    let config = SessionConfig::new().with_extension(Arc::new(Branches::none()));
    let context = SessionContext::new_with_config(config);
    let fresh = Arc::new(Fresh { is_fresh: true, asked: AtomicUsize::new(0) });
    let stream = node(Arc::clone(&fresh)).execute(0, context.task_ctx()).unwrap();
    assert_eq!(fresh.asked.load(Ordering::Relaxed), 0);
    let rows: usize = stream.try_collect::<Vec<_>>().await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!((rows, fresh.asked.load(Ordering::Relaxed)), (3, 1));

    let stale = Arc::new(Fresh { is_fresh: false, asked: AtomicUsize::new(0) });
    let stream = node(Arc::clone(&stale)).execute(0, context.task_ctx()).unwrap();
    let failed = stream.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(failed.to_string().contains("shop"), "{failed}");
    assert_eq!(stale.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_limit_is_kept_by_the_node() {
    let node = FragmentExec::new(part(), Arc::clone(&part().sent));
    assert_eq!((node.estimate(), node.fetch()), (Some(7), None));
    let limited = node.with_fetch(Some(3)).unwrap();
    assert_eq!(limited.fetch(), Some(3));
    assert_eq!(limited.with_fetch(Some(5)).unwrap().fetch(), Some(3));
}
