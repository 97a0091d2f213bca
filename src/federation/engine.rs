//! The engine that all sessions share: functions, rules and bounds, built once.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryReservation, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::object_store::ObjectStore;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::SessionConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::counts::Steps;
use super::field::NamedFields;
use super::joins;
use super::pauses::Pauses;
use super::placement::PlacementPlanner;
use super::plans::Plans;
use super::projections::MovedProjections;
use super::semantics;
use super::wall::Walls;
use crate::error::{Diagnosis, sqlstate};

/// Bounds of the engine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Memory of all running queries together, in bytes.
    pub memory_bytes: usize,
    /// Where operators spill; `None` forbids spilling.
    pub spill_directory: Option<PathBuf>,
    /// Most bytes of spill files.
    pub spill_bytes: u64,
    /// Rows in one batch.
    pub batch_rows: usize,
    /// Partitions of the engine's own operators.
    pub partitions: usize,
    /// Ranges in which one table is read, and no more than partitions.
    pub ranges: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, spill_directory: None, spill_bytes: 10 << 30, batch_rows: 8192, partitions: 2, ranges: 4 }
    }
}

/// Most keys that a join hands to the scan of its other side one by one; of more it tells the ends only. What of them a statement should
/// carry is the scan's to say (`joins::keys`).
const KEYS_MAX: usize = 250_000;
/// Most bytes of those keys with their repetitions, for each partition of a join: the engine makes a literal of each, which takes some
/// hundred bytes more, and no pool counts them.
const KEYS_BYTES_MAX: usize = 2 << 20;
/// Statements that are planned at a time, in multiples of the partitions.
const PLANNERS_FACTOR: usize = 8;

/// The engine: cheap to clone a state from.
#[derive(Debug, Clone)]
pub struct Engine {
    base: SessionState,
    planners: Arc<Semaphore>,
    plans: Arc<Plans>,
    steps: Arc<Steps>,
    ranges: usize,
}

impl Engine {
    /// Builds the engine with the semantics of Postgres and no way to any file.
    ///
    /// # Errors
    /// 58000 when the spill directory cannot be used.
    pub fn new(limits: &Limits) -> Result<Self, Diagnosis> {
        let runtime = runtime(limits).map_err(|error| Diagnosis::new(sqlstate::SYSTEM_ERROR, error.strip_backtrace()))?;
        let mut config = SessionConfig::new()
            .with_batch_size(limits.batch_rows)
            .with_target_partitions(limits.partitions)
            .with_information_schema(false)
            .with_create_default_catalog_and_schema(false);
        let options = config.options_mut();
        options.sql_parser.collect_spans = true;
        // A LIMIT above takes the first rows of this order, as PostgreSQL does.
        options.sql_parser.enable_subquery_sort_elimination = false;
        // The first follows a column by its name, also to another one, and reserves room for as many rows as LIMIT says. The second
        // reads too few rows where frames stand on one another. The third is off by itself, but takes branches for one where they differ.
        options.optimizer.enable_topk_aggregation = false;
        options.optimizer.enable_window_limits = false;
        options.optimizer.enable_unions_to_filter = false;
        // Remote probes must not be polled before their build side is done (`federation.md` §1.3).
        options.execution.hash_join_buffering_capacity = 0;
        options.optimizer.hash_join_inlist_pushdown_max_distinct_values = KEYS_MAX;
        options.optimizer.hash_join_inlist_pushdown_max_size = KEYS_BYTES_MAX;
        let builder = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features();
        let mut builder = semantics::install(builder)
            .with_query_planner(Arc::new(PlacementPlanner))
            .with_physical_optimizer_rules(physical_rules());
        builder.expr_planners().get_or_insert_default().insert(0, Arc::new(NamedFields));
        // File formats and table factories are doors to the host: the engine gets none.
        let base = builder.with_file_formats(Vec::new()).with_table_factories(std::collections::HashMap::new()).build();
        let planners = Arc::new(Semaphore::new(limits.partitions.max(1) * PLANNERS_FACTOR));
        let ranges = limits.ranges.min(limits.partitions);
        Ok(Self { base, planners, plans: Arc::default(), steps: Arc::default(), ranges })
    }

    /// A place among the statements that are planned at a time; further ones wait. It is given up when the planning itself
    /// has ended, which may be after its statement has: planning cannot be interrupted, and whoever starts long ones and
    /// leaves must not take all threads.
    pub async fn planner(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.planners).acquire_owned().await.ok()
    }

    /// Whether a function of this name makes one value of many rows.
    pub fn is_aggregate(&self, name: &str) -> bool {
        is_aggregate(&self.base, name)
    }

    /// The plans that sessions share.
    pub fn plans(&self) -> &Plans {
        &self.plans
    }

    /// What of planning was done.
    pub fn steps(&self) -> &Arc<Steps> {
        &self.steps
    }

    /// Nothing yet of the memory that all queries share, to be grown by what is kept.
    pub fn reservation(&self, name: &str) -> MemoryReservation {
        MemoryConsumer::new(name).register(&self.base.runtime_env().memory_pool)
    }

    /// Rows in one batch.
    pub fn batch_rows(&self) -> usize {
        self.base.config().batch_size()
    }

    /// In how many ranges a table is read side by side, at most: more than there are partitions would only wait for one another.
    pub fn ranges(&self) -> usize {
        self.ranges
    }

    /// A state for one statement.
    pub fn state(&self) -> SessionState {
        self.base.clone()
    }
}

/// The engine's rules for physical plans, with ours.
/// Whether a function of this name makes one value of many rows, also one that is written out before the planner sees it.
pub(super) fn is_aggregate(state: &SessionState, name: &str) -> bool {
    let is_written_out = matches!(name, "json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg");
    let is_window = matches!(name, "first_value" | "last_value" | "nth_value");
    is_written_out || !is_window && state.aggregate_functions().contains_key(name)
}

fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let walls: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(Walls);
    let pauses: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(Pauses);
    let projections: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(MovedProjections::default());
    let place = |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| {
        if rule.name() == projections.name() { Arc::clone(&projections) } else { rule }
    };
    std::iter::once(walls).chain(joins::filters::rules().into_iter().map(place)).chain([pauses]).collect()
}

fn runtime(limits: &Limits) -> Result<Arc<RuntimeEnv>> {
    let pool = TrackConsumersPool::new(FairSpillPool::new(limits.memory_bytes), std::num::NonZeroUsize::MIN.saturating_add(4));
    let mode = match &limits.spill_directory {
        Some(directory) => DiskManagerMode::Directories(vec![directory.clone()]),
        None => DiskManagerMode::Disabled,
    };
    let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(limits.spill_bytes);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(disk)
        .with_object_store_registry(Arc::new(NoObjectStores))
        .build_arc()
}

/// A registry that knows no file system: whatever plan asks for an object store is refused.
#[derive(Debug)]
struct NoObjectStores;

impl ObjectStoreRegistry for NoObjectStores {
    fn register_store(&self, _url: &url::Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, _url: &url::Url) -> Result<Arc<dyn ObjectStore>> {
        let error = Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, "files cannot be read through the server");
        Err(DataFusionError::External(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::object_store::memory::InMemory;

    use super::*;
    use crate::federation::error::diagnose;

    #[test]
    fn no_object_store_is_found_and_none_is_taken() {
        let state = Engine::new(&Limits::default()).unwrap().state();
        let registry = &state.runtime_env().object_store_registry;
        for address in ["file:///etc/passwd", "s3://bucket/key", "http://127.0.0.1/key"] {
            let url = url::Url::parse(address).unwrap();
            for _ in 0..2 {
                let refused = diagnose(&registry.get_store(&url).unwrap_err());
                assert_eq!(refused.sqlstate, sqlstate::INSUFFICIENT_PRIVILEGE, "{address}: {refused:?}");
                registry.register_store(&url, Arc::new(InMemory::new()));
            }
        }
    }
}
